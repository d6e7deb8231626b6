"""Tengine (libtengine-lite.so): tmfiles on a VeriSilicon NPU through TIM-VX, or on the CPU.

Options:
    providers: ["TIMVX"] (default) or ["CPU"]; TIM-VX that hands a layer to the CPU is an error.
    intra_op_threads: of the CPU, 1 by default.
    library: path of libtengine-lite.so.
    interface: the artifact's; scale and zero point of input and output are held against the file.

The caller normalizes and, for a uint8 or int8 file, quantizes. The first run, in which TIM-VX
compiles the NPU's graph, is part of loading.
"""

import ctypes
import os
import struct
import sys
from array import array
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ..host import libraries
from ..host.files import read_text
from ..measurement import clock
from ..protocol.errors import BOARD, TOOLCHAIN, TRANSIENT, USER, AgentError
from ..session.preprocess import Preprocessor
from . import BaseRuntime, Descriptor, Input, check_shape
from .support import native, outputs

NAME = "tengine"
DESCRIPTOR = Descriptor(
    label="Tengine", providers=("TIMVX", "CPU"), libraries=("libtengine-lite.so",)
)
LIBRARIES, PROVIDERS = DESCRIPTOR.libraries, DESCRIPTOR.providers
# The library joins its version from two strings, so it is not in the file as a whole.
_VERSION = rb"Tengine version:? ?([0-9][\w.-]*)"

FP32, FP16, INT8, UINT8 = 0, 1, 2, 3
NCHW = 0
DTYPES = {FP32: "float32", FP16: "float16", INT8: "int8", UINT8: "uint8"}
# TENGINE_MODE_*, which are not numbered as the data types are.
PRECISIONS = {FP32: 0, UINT8: 3, INT8: 4}
CLUSTER_ALL = 0
# Nodes that compute nothing belong to no device.
_IDLE = ("InputOp", "Const")
_TYPECODES = {FP32: "f", INT8: "b", UINT8: "B"}


class Options(ctypes.Structure):
    """`struct options`, passed by value."""

    _fields_ = [
        ("num_thread", ctypes.c_int),
        ("cluster", ctypes.c_int),
        ("precision", ctypes.c_int),
        ("affinity", ctypes.c_uint64),
    ]


_INT, _POINTER, _TEXT = ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p
_INTS, _FLOATS = ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_float)
# Without a result type a handle would be cut to 32 bits.
SIGNATURES: Dict[str, Tuple[Any, Optional[List[Any]]]] = {
    "init_tengine": (_INT, []),
    "release_tengine": (None, []),
    "get_tengine_version": (_TEXT, []),
    "create_context": (_POINTER, [_TEXT, _INT]),
    "set_context_device": (_INT, [_POINTER, _TEXT, _POINTER, ctypes.c_size_t]),
    "destroy_context": (None, [_POINTER]),
    "create_graph": (_POINTER, None),  # variadic: arguments are wrapped where it is called
    "destroy_graph": (_INT, [_POINTER]),
    "get_graph_input_node_number": (_INT, [_POINTER]),
    "get_graph_output_node_number": (_INT, [_POINTER]),
    "get_graph_input_tensor": (_POINTER, [_POINTER, _INT, _INT]),
    "get_graph_output_tensor": (_POINTER, [_POINTER, _INT, _INT]),
    "get_tensor_name": (_TEXT, [_POINTER]),
    "get_tensor_shape": (_INT, [_POINTER, _INTS, _INT]),
    "set_tensor_shape": (_INT, [_POINTER, _INTS, _INT]),
    "get_tensor_buffer_size": (_INT, [_POINTER]),
    "get_tensor_buffer": (_POINTER, [_POINTER]),
    "set_tensor_buffer": (_INT, [_POINTER, _POINTER, _INT]),
    "get_tensor_data_type": (_INT, [_POINTER]),
    "get_tensor_layout": (_INT, [_POINTER]),
    "get_tensor_quant_param": (_INT, [_POINTER, _FLOATS, _INTS, _INT]),
    "prerun_graph_multithread": (_INT, [_POINTER, Options]),
    "run_graph": (_INT, [_POINTER, _INT]),
    "postrun_graph": (_INT, [_POINTER]),
    "get_graph_node_num": (_INT, [_POINTER]),
    "get_graph_node_by_idx": (_POINTER, [_POINTER, _INT]),
    "get_node_name": (_TEXT, [_POINTER]),
    "get_node_op": (_TEXT, [_POINTER]),
    "get_node_device": (_TEXT, [_POINTER]),
}


def probe(load: bool = False) -> Optional[Dict[str, Any]]:
    """The library's hash; its own word for its version, and whether it loads, when loaded."""
    facts = native.probe(NAME, LIBRARIES, _VERSION)
    if facts is None or not load or facts.get("problem"):
        return facts
    try:
        _, version = _library({})
    except AgentError as error:
        return {"version": facts["version"], "problem": error.message}
    return {"version": "%s %s" % (version, facts["version"]), "providers": list(PROVIDERS)}


def _library(options: Mapping[str, Any]) -> Tuple[Any, str]:
    path = native.find(NAME, LIBRARIES, options)
    library = native.load(NAME, path)
    native.declare(NAME, path, library, SIGNATURES)
    return library, (library.get_tengine_version() or b"?").decode("utf-8", "replace")


class Runtime(BaseRuntime):
    """One graph, batch 1."""

    def __init__(self, path: str, options: Mapping[str, Any], preprocessing: Preprocessor) -> None:
        self.provider = native.provider(NAME, options, PROVIDERS)
        self._lib, self.version = _library(options)
        self._file = os.path.basename(path)
        _check_file(path, self._file)
        self._context = self._graph = None
        self._ready = False
        try:
            self._open(path, options, preprocessing)
        except BaseException:
            self.close()
            raise

    def _open(self, path: str, options: Mapping[str, Any], preprocessing: Preprocessor) -> None:
        lib = self._lib
        if lib.init_tengine() != 0:
            raise self._failed(BOARD, "init_tengine", "the library cannot be used on this board")
        if self.provider == "TIMVX":
            self._take_npu()
        self._graph = lib.create_graph(
            ctypes.c_void_p(self._context), ctypes.c_char_p(b"tengine"), _path(path)
        )
        if not self._graph:
            raise self._failed(
                TOOLCHAIN,
                "create_graph",
                "the file is no tmfile, is damaged, or was made by a converter newer than the"
                " library",
            )
        self._feed(preprocessing)
        self._prerun(options)
        if self.provider == "TIMVX":
            self._check_placement()
        self._describe_outputs(options)
        self.run(bytes(preprocessing.input_bytes))
        if self.provider == "TIMVX":
            self.facts = _drivers()

    def _take_npu(self) -> None:
        lib = self._lib
        self._context = lib.create_context(b"timvx", 1)
        if not self._context:
            raise self._failed(BOARD, "create_context", "the board's memory may be full")
        if lib.set_context_device(self._context, b"TIMVX", None, 0) < 0:
            raise AgentError(
                BOARD,
                "tengine: TIMVX was asked for, but this libtengine-lite.so (%s) has no device of"
                " that name: it was built without TIM-VX; name one that was by runtime.library, or"
                " ask for the CPU: `providers: [CPU]`" % self.version,
                "no-provider",
            )

    def _feed(self, preprocessing: Preprocessor) -> None:
        lib, graph = self._lib, self._graph
        count = lib.get_graph_input_node_number(graph)
        if count != 1:
            raise AgentError(TOOLCHAIN, "%s has %d inputs, expected one" % (self._file, count))
        tensor = lib.get_graph_input_tensor(graph, 0, 0)
        if not tensor:
            raise self._failed(TOOLCHAIN, "get_graph_input_tensor", "the file has no input")
        self._type = lib.get_tensor_data_type(tensor)
        if self._type not in PRECISIONS:
            raise AgentError(
                TOOLCHAIN,
                "%s takes %s, expected float32, uint8 or int8"
                % (self._file, DTYPES.get(self._type, "data type %d" % self._type)),
            )
        if lib.get_tensor_layout(tensor) != NCHW:
            raise AgentError(TOOLCHAIN, "%s takes NHWC, Tengine's NPU runs NCHW" % self._file)
        shape = self._shape(tensor, "input")
        # A file converted with a free batch has no shape until it is given one.
        known = [size if size > 0 else None for size in shape] or [None] * 4
        check_shape(known, DTYPES[self._type], preprocessing)
        found = self._quantization(tensor, "input", self._type)
        native.check_quantized("input", native.stated_input(preprocessing), found)
        wanted = preprocessing.shape
        if lib.set_tensor_shape(tensor, (ctypes.c_int * 4)(*wanted), 4) < 0:
            raise self._failed(TOOLCHAIN, "set_tensor_shape", "it does not take %s" % wanted)
        # The library reads from this memory at each run: it must live as long as the graph does.
        self._input = (ctypes.c_char * preprocessing.input_bytes)()
        size = lib.get_tensor_buffer_size(tensor)
        if lib.set_tensor_buffer(tensor, self._input, preprocessing.input_bytes) < 0:
            raise self._failed(
                TOOLCHAIN,
                "set_tensor_buffer",
                "its input has %d bytes, the preprocessing makes %d"
                % (size, preprocessing.input_bytes),
            )
        name = (lib.get_tensor_name(tensor) or b"").decode("utf-8", "replace")
        self.inputs = [{"name": name, "shape": wanted, "dtype": DTYPES[self._type]}]

    def _prerun(self, options: Mapping[str, Any]) -> None:
        threads = options.get("intra_op_threads", 1)
        if isinstance(threads, bool) or not isinstance(threads, int) or not 0 <= threads <= 256:
            raise AgentError(USER, "intra_op_threads is %r, expected 0 to 256" % (threads,))
        setup = Options(threads, CLUSTER_ALL, PRECISIONS[self._type], 0)
        if self._lib.prerun_graph_multithread(self._graph, setup) != 0:
            why = "a layer is not run in this precision"
            if self.provider == "TIMVX":
                why = (
                    "the NPU's driver (galcore %s) and the TIM-VX libraries do not match, or a"
                    " layer is not run by it" % (_galcore() or "not loaded")
                )
            raise self._failed(TOOLCHAIN, "prerun_graph_multithread", why)
        self._ready = True

    def _check_placement(self) -> None:
        lib, graph = self._lib, self._graph
        strayed = []
        for index in range(max(0, lib.get_graph_node_num(graph))):
            node = lib.get_graph_node_by_idx(graph, index)
            if not node:
                continue
            operator = (lib.get_node_op(node) or b"?").decode("utf-8", "replace")
            device = (lib.get_node_device(node) or b"").decode("utf-8", "replace")
            if device and device != "TIMVX" and operator not in _IDLE:
                name = (lib.get_node_name(node) or b"").decode("utf-8", "replace")
                strayed.append("%s (%s) on %s" % (name, operator, device))
        if strayed:
            raise AgentError(
                TOOLCHAIN,
                "TIM-VX does not run %d of the file's layers: %s%s; a time of the CPU is never"
                " reported as the NPU's"
                % (len(strayed), ", ".join(strayed[:3]), ", ..." if len(strayed) > 3 else ""),
                "cpu-fallback",
            )

    def _describe_outputs(self, options: Mapping[str, Any]) -> None:
        count = self._lib.get_graph_output_node_number(self._graph)
        said = outputs.one_by_one(options, count, self._file)
        self._outputs = [self._output(index, each) for index, each in enumerate(said)]
        for index, output in enumerate(self._outputs):
            if len(said) > 1:
                outputs.check_size(output.described["name"], output.count, said[index])
        self.dim = sum(output.count for output in self._outputs)
        self.outputs = [output.described for output in self._outputs]

    def _output(self, index: int, said: Mapping[str, Any]) -> "_Output":
        lib = self._lib
        tensor = lib.get_graph_output_tensor(self._graph, index, 0)
        if not tensor:
            raise self._failed(TOOLCHAIN, "get_graph_output_tensor", "the file has no output")
        kind = lib.get_tensor_data_type(tensor)
        if kind not in _TYPECODES:
            raise AgentError(
                TOOLCHAIN,
                "%s gives %s, expected float32, uint8 or int8"
                % (self._file, DTYPES.get(kind, "data type %d" % kind)),
            )
        shape = self._shape(tensor, "output")
        found = self._quantization(tensor, "output", kind)
        name = (lib.get_tensor_name(tensor) or b"").decode("utf-8", "replace")
        described = {"name": name, "shape": shape, "dtype": DTYPES[kind]}
        output = _Output(tensor, described, _TYPECODES[kind], found)
        size = lib.get_tensor_buffer_size(tensor)
        if output.count < 1 or size != output.bytes:
            raise AgentError(
                TOOLCHAIN,
                "%s gives %d bytes for an output of shape %s" % (self._file, size, shape),
            )
        stated = native.stated_output(said)
        if stated is not None:
            native.check_quantized("output", stated, found)
        return output

    def _shape(self, tensor: int, what: str) -> List[int]:
        dims = (ctypes.c_int * 8)()
        count = self._lib.get_tensor_shape(tensor, dims, 8)
        if not 0 <= count <= 8:
            raise self._failed(TOOLCHAIN, "get_tensor_shape", "of its %s" % what)
        return list(dims[:count])

    def _quantization(self, tensor: int, what: str, kind: int) -> Optional[native.Quantized]:
        if kind == FP32:
            return None
        scale, zero = ctypes.c_float(), ctypes.c_int()
        # It gives the number of scales, not 0, when all is well.
        count = self._lib.get_tensor_quant_param(tensor, ctypes.byref(scale), ctypes.byref(zero), 1)
        if count != 1 or not scale.value > 0:
            raise self._failed(
                TOOLCHAIN, "get_tensor_quant_param", "its %s has not one scale" % what
            )
        return native.Quantized(scale.value, zero.value)

    def run(self, data: Input) -> Tuple[bytes, int]:
        self._input.raw = bytes(data)
        run, graph = self._lib.run_graph, self._graph
        begin = clock.now_ns()
        result = run(graph, 1)
        took = clock.now_ns() - begin
        if result < 0:
            raise self._failed(TRANSIENT, "run_graph", "the device stopped or ran out of memory")
        row = []
        for output in self._outputs:
            # It may lie elsewhere after each run.
            place = self._lib.get_tensor_buffer(output.tensor)
            if not place:
                raise self._failed(TRANSIENT, "get_tensor_buffer", "there is no output")
            row.append(output.values(ctypes.string_at(place, output.bytes)))
        return row[0] if len(row) == 1 else b"".join(row), took

    def close(self) -> None:
        lib = self._lib
        if self._graph:
            if self._ready:
                lib.postrun_graph(self._graph)
            lib.destroy_graph(self._graph)
        if self._context:
            lib.destroy_context(self._context)
        self._graph = self._context = None

    def _failed(self, kind: str, function: str, why: str) -> AgentError:
        return AgentError(
            kind,
            "tengine %s: %s failed on %s (%s): %s; what the library printed stands in the board's"
            " log" % (self.version, function, self._file, self.provider, why),
        )


class _Output(object):
    """One output of the graph: its tensor, and how its values become float32.

    Args:
        code: of `array`, its values' type.
        quantized: its own scale and zero point; None where it is float32.
    """

    def __init__(
        self,
        tensor: int,
        described: Dict[str, Any],
        code: str,
        quantized: Optional[native.Quantized],
    ) -> None:
        self.tensor, self.described, self._code = tensor, described, code
        shape = described["shape"]
        self.count = 1
        for size in shape[1:] if len(shape) > 1 else shape:
            self.count *= size
        self.bytes = self.count * array(code).itemsize
        self._table: Dict[int, float] = {}
        if quantized is not None:
            zero, scale = quantized.zero_point, quantized.scale
            self._table = {level: (level - zero) * scale for level in range(-128, 256)}

    def values(self, raw: bytes) -> bytes:
        """`count` little-endian float32 of the output's bytes."""
        values: Any = array(self._code)
        values.frombytes(raw)
        if self._table:
            table = self._table
            values = array("f", [table[level] for level in values])
        if sys.byteorder == "big":
            values.byteswap()
        return bytes(values.tobytes())


def _check_file(path: str, name: str) -> None:
    """Refuse what is no tmfile of version 2: the library reads offsets unchecked and crashes."""
    with open(path, "rb") as file:
        head = file.read(12)
    version, root = struct.unpack("<H6xI", head) if len(head) == 12 else (0, 0)
    if version != 2 or not 12 <= root < os.path.getsize(path):
        raise AgentError(
            TOOLCHAIN, "%s is no tmfile of version 2, or not a whole one; convert it again" % name
        )


def _path(path: str) -> Any:
    return ctypes.c_char_p(os.fsencode(path))


def _drivers() -> Dict[str, str]:
    """Versions of the NPU's driver in the kernel and in this process, which must be one release."""
    user = libraries.loaded("libGAL.so")
    found = {"galcore": _galcore(), "libGAL": libraries.gal_version(user) if user else ""}
    return {name: version for name, version in found.items() if version}


def _galcore() -> str:
    return read_text("/sys/module/galcore/version", 100).strip()
