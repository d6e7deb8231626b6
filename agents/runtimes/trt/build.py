"""The builder's process: an ONNX file to a serialized TensorRT engine, with the Python bindings.

Explicit quantization: the file's QuantizeLinear and DequantizeLinear say what is int8; TensorRT 8
to 10 want BuilderFlag.INT8 besides. TF32 is switched off, so that float32 means float32.
"""

import json
import os
import sys
import traceback
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ...protocol.errors import BOARD, BUG, TOOLCHAIN, AgentError
from . import onnx_file

_KEPT_LINES = 40
_SHOWN_ERRORS = 3
_MEMORY_WORDS = ("out of memory", "outofmemory", "cuda error 2", "failed_allocation")


class Log(object):
    """TensorRT's messages: printed, the warnings and errors kept.

    Args:
        trt: the module.

    Attributes:
        logger: what TensorRT wants to be given.
        lines: warnings and errors.
    """

    def __init__(self, trt: Any) -> None:
        self.lines: List[str] = []
        lines = self.lines
        kinds = trt.Logger
        severe = (kinds.INTERNAL_ERROR, kinds.ERROR, kinds.WARNING)
        quiet = kinds.VERBOSE

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                if severity in severe:
                    lines.append(" ".join(str(msg).split())[:400])
                    del lines[:-_KEPT_LINES]
                if severity != quiet:
                    sys.stderr.write("TensorRT: %s\n" % str(msg)[:400])

        self.logger = Logger()

    def last(self, count: int = 4) -> str:
        """The last warnings and errors in one line."""
        return " | ".join(self.lines[-count:]) or "TensorRT gave no reason"

    @property
    def memory(self) -> bool:
        """Whether they speak of missing memory."""
        text = " ".join(self.lines).lower()
        return any(word in text for word in _MEMORY_WORDS)


def build(trt: Any, request: Mapping[str, Any]) -> Dict[str, Any]:
    """Build and write the engine.

    Args:
        trt: the module `tensorrt`, 8.0 to 10.x.
        request: of `trt_engine.Recipe.request`.

    Returns:
        facts of the build.

    Raises:
        AgentError: `toolchain` when the parser or the builder refuses the file or the GPU has no
            int8; `board` when memory ran out.
    """
    version = str(trt.__version__)
    log = Log(trt)
    builder = created(lambda: trt.Builder(log.logger), "builder", version, log)
    if request["int8"] and not builder.platform_has_fast_int8:
        raise AgentError(
            TOOLCHAIN,
            "this GPU has no int8 arithmetic, says TensorRT %s; only a float32 row can run on it"
            % version,
        )
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, log.logger)
    with open(request["onnx"], "rb") as file:
        data = file.read()
    if not parser.parse(data):
        raise AgentError(
            TOOLCHAIN,
            "TensorRT %s's parser refuses %s: %s"
            % (version, os.path.basename(request["onnx"]), _errors(parser, data, log)),
        )
    plan = builder.build_serialized_network(network, _config(trt, builder, request))
    if plan is None:
        message = "TensorRT %s builds no engine: %s" % (version, log.last())
        if log.memory:
            raise AgentError(BOARD, message + "; memory ran out on the board", "no-memory")
        raise AgentError(TOOLCHAIN, message)
    with open(request["plan"], "wb") as file:
        file.write(plan)
    return {
        "network_layers": int(network.num_layers),
        "warnings": log.lines[-8:],
        "tensorrt": version,
    }


def created(make: Callable[[], Any], what: str, version: str, log: Log) -> Any:
    """One of TensorRT's first objects; they cannot be made where CUDA does not work.

    Raises:
        AgentError: `board`.
    """
    try:
        return make()
    except TypeError as error:  # what the bindings make of a null pointer
        raise AgentError(
            BOARD,
            "TensorRT %s makes no %s, does CUDA work here? %s (%s)"
            % (version, what, log.last(), error),
        )


def _network_flags(trt: Any) -> int:
    # Required on 8.x, ignored on 10.x, gone in 11.
    flags = getattr(trt, "NetworkDefinitionCreationFlag", None)
    explicit = getattr(flags, "EXPLICIT_BATCH", None)
    return 0 if explicit is None else 1 << int(explicit)


def _config(trt: Any, builder: Any, request: Mapping[str, Any]) -> Any:
    config = builder.create_builder_config()
    size = int(request["workspace_mb"]) << 20
    if hasattr(config, "set_memory_pool_limit"):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size)
    else:  # 8.0 to 8.3
        config.max_workspace_size = size
    flag = trt.BuilderFlag
    wanted = [("INT8", request["int8"]), ("FP16", request["fp16"])]
    for name, asked in wanted:
        if asked and hasattr(flag, name):  # precision flags are gone in 11
            config.set_flag(getattr(flag, name))
    if hasattr(flag, "TF32"):
        config.clear_flag(flag.TF32)
    if hasattr(trt, "ProfilingVerbosity") and hasattr(trt.ProfilingVerbosity, "DETAILED"):
        # What each layer computes in is kept in the engine; its speed does not change.
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    return config


def _errors(parser: Any, data: bytes, log: Log) -> str:
    errors = []
    nodes: Optional[List[Tuple[str, str]]] = None
    for index in range(min(int(parser.num_errors), _SHOWN_ERRORS)):
        error = parser.get_error(index)
        number = int(error.node())
        if nodes is None:
            nodes = onnx_file.nodes(data)
        where = ""
        if 0 <= number < len(nodes):
            where = "node %d %r (%s): " % ((number,) + nodes[number])
        elif number >= 0:
            where = "node %d: " % number
        errors.append(where + " ".join(str(error.desc()).split())[:300])
    more = int(parser.num_errors) - len(errors)
    text = "; ".join(errors) or log.last()
    return text + (" (and %d more)" % more if more > 0 else "")


def _first_to_go() -> None:
    """If the kernel must kill somebody for memory, let it be this process and not the agent."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except (IOError, OSError):
        pass


def main(asked: str) -> int:
    """Build what the file `asked` requests and write the result beside it."""
    _first_to_go()
    with open(asked) as file:
        request = json.load(file)
    try:
        import tensorrt

        report = build(tensorrt, request)
    except AgentError as error:
        report = {"class": error.kind, "message": error.message, "code": error.code}
    except MemoryError:
        report = {"class": BOARD, "message": "the board's memory is full", "code": "no-memory"}
    except Exception as error:
        traceback.print_exc()
        report = {"class": BUG, "message": "building: %s: %s" % (type(error).__name__, error)}
    part = request["result"] + ".part"
    with open(part, "w") as file:
        json.dump(report, file)
    os.rename(part, request["result"])
    return 0
