"""Native runtimes behind one protocol. Nothing of a vendor is loaded before it is asked for."""

import importlib
import re
from typing import Any, Dict, List, Mapping, Optional, Tuple, Type, Union

from ..protocol.errors import BOARD, AgentError
from ..session.preprocess import Preprocessor

Input = Union[bytes, bytearray]
# Name of a runtime (as in the inventory) to its module here, which has `probe` and `Runtime`.
MODULES = {
    "onnxruntime": "onnxruntime",
    "rknn": "rknn",
    "rknn_simulator": "rknn_simulator",
    "tengine": "tengine",
    "tensorrt": "tensorrt",
    "timed": "timed",
}


class BaseRuntime(object):
    """A loaded model. Everything runs in one thread of one process, the runtime child.

    Args:
        path: the artifact, already verified.
        options: from the job; each runtime documents its own.
        preprocessing: says the shape and type of what `run` will be given.

    Attributes:
        inputs, outputs: `name`, `shape` (None where free) and `dtype` of each.
        dim: length of the feature.
        version: the runtime's own version.
        provider: what executes: `CPUExecutionProvider`, `TIMVX`, ...
        facts: what else belongs into a result's provenance: the device, how the file was built.
        in_blocks: single runs say nothing of its speed; `times` is asked instead.

    Raises:
        AgentError: `board` when the runtime or a provider is missing; `toolchain` when it refuses
            the artifact; `user` when the preprocessing does not fit the model.
    """

    inputs: List[Dict[str, Any]] = []
    outputs: List[Dict[str, Any]] = []
    dim = 0
    version = ""
    provider = ""
    facts: Dict[str, Any] = {}
    in_blocks = False

    def __init__(self, path: str, options: Mapping[str, Any], preprocessing: Preprocessor) -> None:
        raise NotImplementedError

    def run(self, data: Input) -> Tuple[bytes, int]:
        """The feature of one prepared input, and the device time.

        Returns:
            `dim` little-endian float32, and nanoseconds inside the native run call.

        Raises:
            AgentError: nothing more can be run.
            Exception: this image failed; the next may work.
        """
        raise NotImplementedError

    def times(self, data: Input, count: int, seconds: float) -> Tuple[List[int], List[int]]:
        """Where `in_blocks`: device and end-to-end nanoseconds of runs of one prepared input.

        Args:
            count: at least so many.
            seconds: for at least so long.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Give back what the runtime holds."""


def variable(name: str) -> str:
    """The environment variable that names a runtime's library on this board."""
    return "FARM_%s_LIB" % name.upper()


def _module(name: str) -> Any:
    if name not in MODULES:
        raise AgentError(
            BOARD, "no runtime %r in this agent; it knows %s" % (name, ", ".join(sorted(MODULES)))
        )
    return importlib.import_module("." + MODULES[name], __name__)


def available(load: bool = False) -> Dict[str, Dict[str, Any]]:
    """The runtimes that are installed here: `version`, and `providers` where known.

    Args:
        load: import them to know more; slow, and not for the session's own process.
    """
    found = {}
    for name in sorted(MODULES):
        facts: Optional[Dict[str, Any]] = _module(name).probe(load)
        if facts is not None:
            found[name] = facts
    return found


def open_runtime(
    name: str, path: str, options: Mapping[str, Any], preprocessing: Preprocessor
) -> BaseRuntime:
    """Load an artifact into a runtime.

    Raises:
        AgentError: see `BaseRuntime`.
    """
    runtime: Type[BaseRuntime] = _module(name).Runtime
    return runtime(path, options, preprocessing)


def source_version(path: str) -> str:
    """`__version__` as a package's source has it, without importing it; empty when it has none."""
    try:
        with open(path, "rb") as file:
            source = file.read(1 << 16).decode("utf-8", "replace")
    except (IOError, OSError):
        return ""
    found = re.search(r"^__version__\s*=\s*['\"]([^'\"]+)", source, re.MULTILINE)
    return found.group(1) if found else ""


def check_shape(shape: List[Optional[int]], dtype: str, preprocessing: Preprocessor) -> None:
    """Compare a model's input with what preprocessing makes.

    Args:
        shape: the model's input, None where it is free.

    Raises:
        AgentError: `user`, with both shapes.
    """
    made = preprocessing.shape
    fits = len(shape) == len(made) and all(
        want in (None, made[axis]) for axis, want in enumerate(shape)
    )
    if not fits or dtype != preprocessing.dtype:
        raise AgentError(
            "user",
            "the model takes %s %s, the preprocessing makes %s %s (%s)"
            % (
                dtype,
                [size if size is not None else "free" for size in shape],
                preprocessing.dtype,
                made,
                preprocessing.layout,
            ),
        )
