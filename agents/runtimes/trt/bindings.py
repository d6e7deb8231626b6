"""A TensorRT engine run with the Python bindings: 8.0 to 8.4 by bindings, later by tensor names.

The device time is the GPU's own, between two CUDA events around the engine; copies in and out are
outside of it and inside of the end-to-end time.
"""

import ctypes as C
import json
import struct
import sys
from array import array
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ...protocol.errors import BOARD, TOOLCHAIN, TRANSIENT, USER, AgentError
from ...session.preprocess import Preprocessor
from .. import BaseRuntime, Input, check_shape
from ..support import outputs
from .build import Log, created
from .cuda import DEVICE_TO_HOST, HOST_TO_DEVICE, Cuda
from .engine import Engine, Recipe, build_apart, provide

_BYTES = {"float32": 4, "float16": 2}


class Tensor(object):
    """An input or output: its name, static shape, dtype, and its place in both memories."""

    def __init__(self, name: str, is_input: bool, shape: Tuple[int, ...], dtype: str) -> None:
        self.name = name
        self.is_input = is_input
        self.shape = shape
        self.dtype = dtype
        self.count = 1
        for size in shape:
            self.count *= size
        self.size = self.count * _BYTES.get(dtype, 4)
        self.device = 0
        self.host: Any = None

    def described(self) -> Dict[str, Any]:
        """As `BaseRuntime.inputs` has it."""
        return {"name": self.name, "shape": list(self.shape), "dtype": self.dtype}


class Runtime(BaseRuntime):
    """One engine, one execution context, one stream.

    Raises:
        AgentError: as `BaseRuntime`; `user` also when building takes too long.
    """

    provider = "TensorRT"

    def __init__(self, path: str, options: Mapping[str, Any], preprocessing: Preprocessor) -> None:
        try:
            import tensorrt
        except Exception as error:
            # A broken installation raises whatever it likes.
            raise AgentError(
                BOARD,
                "TensorRT's Python bindings cannot be loaded: %s: %s"
                % (type(error).__name__, error),
                "no-runtime",
            )
        self._trt = tensorrt
        self.version = str(tensorrt.__version__)
        self._context: Any = None
        self._engine: Any = None
        self._cuda = Cuda(str(options.get("library") or ""))
        try:
            self._open(path, options, preprocessing)
        except BaseException:
            self.close()
            raise

    def _open(self, path: str, options: Mapping[str, Any], preprocessing: Preprocessor) -> None:
        device = self._cuda.device()
        self._log = Log(self._trt)
        recipe = Recipe(path, "bindings", self.version, device, options)
        engine = self._load(recipe)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            kind = BOARD if self._log.memory else TOOLCHAIN
            raise AgentError(
                kind,
                "TensorRT %s makes no execution context: %s" % (self.version, self._log.last()),
            )
        self._by_name = hasattr(self._engine, "num_io_tensors")
        tensors = self._tensors()
        self._check(tensors)
        ins = [tensor for tensor in tensors if tensor.is_input]
        outs = [tensor for tensor in tensors if not tensor.is_input]
        self.inputs = [tensor.described() for tensor in ins]
        self.outputs = [tensor.described() for tensor in outs]
        if len(ins) != 1:
            names = ", ".join(tensor.name for tensor in ins)
            raise AgentError(USER, "the model has the inputs %s, expected one" % names)
        check_shape(list(ins[0].shape), "float32", preprocessing)
        found = {tensor.name: tensor for tensor in outs}
        wanted = outputs.chosen(options, [tensor.name for tensor in outs])
        self._in, self._outs = ins[0], [found[name] for name in wanted]
        self._counts = [
            out.count // (out.shape[0] if len(out.shape) > 1 else 1) for out in self._outs
        ]
        self.dim = sum(self._counts)
        self._place(tensors)
        self.facts = dict(
            device,
            api="tensor addresses" if self._by_name else "bindings",
            device_time="CUDA events around the engine, without copies",
            **engine.facts,
        )
        layers = self._layers()
        if layers:
            self.facts["layers"] = layers
        self.run(bytes(4 * self._in.count))

    # ---- the engine

    def _load(self, recipe: Recipe) -> Engine:
        engine = provide(recipe, build_apart)
        if self._deserialize(engine):
            return engine
        if not engine.built:
            # Whole, but of another TensorRT or GPU than its name says.
            engine = provide(recipe, build_apart, anew=True)
            if self._deserialize(engine):
                return engine
        raise AgentError(
            BOARD if self._log.memory else TOOLCHAIN,
            "TensorRT %s does not load the engine that it has just built: %s"
            % (self.version, self._log.last()),
        )

    def _deserialize(self, engine: Engine) -> bool:
        with open(engine.path, "rb") as file:
            data = file.read()
        log = self._log
        runtime = created(lambda: self._trt.Runtime(log.logger), "runtime", self.version, log)
        self._engine = runtime.deserialize_cuda_engine(data)
        return self._engine is not None

    def _tensors(self) -> List[Tensor]:
        engine = self._engine
        found = []
        if self._by_name:
            into = self._trt.TensorIOMode.INPUT
            for index in range(int(engine.num_io_tensors)):
                name = engine.get_tensor_name(index)
                found.append(
                    Tensor(
                        name,
                        engine.get_tensor_mode(name) == into,
                        tuple(int(size) for size in engine.get_tensor_shape(name)),
                        self._dtype(engine.get_tensor_dtype(name)),
                    )
                )
            return found
        for index in range(int(engine.num_bindings)):
            found.append(
                Tensor(
                    engine.get_binding_name(index),
                    bool(engine.binding_is_input(index)),
                    tuple(int(size) for size in engine.get_binding_shape(index)),
                    self._dtype(engine.get_binding_dtype(index)),
                )
            )
        return found

    def _dtype(self, value: Any) -> str:
        types = self._trt.DataType
        if value == types.FLOAT:
            return "float32"
        return "float16" if value == types.HALF else str(value).rsplit(".", 1)[-1]

    def _check(self, tensors: List[Tensor]) -> None:
        for tensor in tensors:
            if any(size < 0 for size in tensor.shape):
                raise AgentError(
                    TOOLCHAIN,
                    "%r has the free shape %s; the engine must be of batch 1"
                    % (tensor.name, list(tensor.shape)),
                )
            if tensor.dtype not in _BYTES:
                raise AgentError(
                    TOOLCHAIN,
                    "%r is %s, expected float32 or float16" % (tensor.name, tensor.dtype),
                )

    def _place(self, tensors: List[Tensor]) -> None:
        cuda = self._cuda
        self._stream = cuda.stream()
        self._begin, self._end = cuda.event(), cuda.event()
        for tensor in tensors:
            tensor.device = cuda.malloc(tensor.size)
            tensor.host = (C.c_char * tensor.size)()
            if self._by_name and not self._context.set_tensor_address(tensor.name, tensor.device):
                raise AgentError(
                    TOOLCHAIN,
                    "TensorRT takes no memory for %r: %s" % (tensor.name, self._log.last()),
                )
        self._addresses = [tensor.device for tensor in tensors]

    def _layers(self) -> Optional[Dict[str, int]]:
        """How many layers give each type, as far as the engine tells: `{"Int8": 40, "Float": 5}`.

        The inspector is there since 8.2; the shape of what it says is not promised.
        """
        try:
            inspector = self._engine.create_engine_inspector()
            kind = self._trt.LayerInformationFormat.JSON
            information = json.loads(inspector.get_engine_information(kind))
            counts: Dict[str, int] = {}
            for layer in information["Layers"]:
                for output in layer["Outputs"][:1]:
                    word = str(output["Format/Datatype"]).split(" ")[-1][:20]
                    counts[word] = counts.get(word, 0) + 1
            return counts
        except (AttributeError, KeyError, TypeError, ValueError):
            return None

    # ---- an image

    def run(self, data: Input) -> Tuple[bytes, int]:
        cuda, stream, source = self._cuda, self._stream, self._in
        raw = bytes(data) if source.dtype == "float32" else _to_half(data)
        if len(raw) != source.size:
            raise ValueError("an input of %d bytes, expected %d" % (len(raw), source.size))
        C.memmove(source.host, raw, source.size)
        cuda.copy(source.device, C.addressof(source.host), source.size, HOST_TO_DEVICE, stream)
        cuda.record(self._begin, stream)
        if self._by_name:
            done = self._context.execute_async_v3(stream)
        else:
            done = self._context.execute_async_v2(self._addresses, stream)
        if not done:
            raise AgentError(TRANSIENT, "TensorRT does not run: %s" % self._log.last(), "cuda")
        cuda.record(self._end, stream)
        for out in self._outs:
            cuda.copy(C.addressof(out.host), out.device, out.size, DEVICE_TO_HOST, stream)
        cuda.wait(stream)
        took = cuda.elapsed_ns(self._begin, self._end)
        row = b""
        for index, out in enumerate(self._outs):
            values = bytes(out.host) if out.dtype == "float32" else _from_half(out.host)
            row += values[: 4 * self._counts[index]]
        return row, took

    def close(self) -> None:
        # TensorRT's objects go before the memory that they were told of.
        self._context = self._engine = None
        self._cuda.close()


def _to_half(data: Input) -> bytes:
    values = array("f")
    values.frombytes(bytes(data))
    return struct.pack("<%de" % len(values), *values)


def _from_half(data: Any) -> bytes:
    raw = bytes(data)
    values = array("f", struct.unpack("<%de" % (len(raw) // 2), raw))
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()
