"""Rockchip's NPU: librknnrt.so (RKNN 2), librknn_api.so (RKNN 1, RV1126), or the RKNNLite package.

Options:
    providers: ["NPU"].
    library: path of librknnrt.so or librknn_api.so.
    interface: the artifact's; scale and zero point of each output are compared with the file's.

The file normalizes: mean and std are part of it, so what goes in is the image, raw uint8 NHWC.
The driver gives float32 back. RKNNLite is used where no library is found but the package is there.
"""

import ctypes
import json
import os
import struct
from typing import Any, Dict, List, Mapping, Optional, Tuple, Type

from ..measurement import clock
from ..protocol.errors import BOARD, TOOLCHAIN, TRANSIENT, AgentError
from ..session.preprocess import Preprocessor
from . import BaseRuntime, Descriptor, Input, check_shape
from .support import native, outputs, rknn_lite

NAME = "rknn"
DESCRIPTOR = Descriptor(
    label="RKNN",
    providers=("NPU",),
    threads=False,
    simulator="rknn_simulator",
    libraries=("librknnrt.so", "librknn_api.so", "librknnmrt.so"),
    package="rknnlite",
    distribution="rknn_toolkit_lite",
)
LIBRARIES, PROVIDERS = DESCRIPTOR.libraries, DESCRIPTOR.providers
_VERSION = rb"librknn(?:_api|m?rt|_runtime) version:? ?([0-9][\w.-]*)"

_MOST_JSON = 16 << 20

IN_OUT_NUM, INPUT_ATTR, OUTPUT_ATTR, PERF_RUN, SDK_VERSION = 0, 1, 2, 4, 5
UINT8, NCHW, NHWC, AFFINE = 3, 0, 1, 2
# Only RKNN 2 has any of these; a library's file name says nothing (images rename them).
_ONLY_2 = ("rknn_set_core_mask", "rknn_dup_context", "rknn_set_io_mem")

ERRORS = {
    -1: "RKNN_ERR_FAIL: it failed for a reason that it does not tell",
    -2: "RKNN_ERR_TIMEOUT: the NPU did not answer in time",
    -3: "RKNN_ERR_DEVICE_UNAVAILABLE: the NPU is not there or its driver is not loaded",
    -4: "RKNN_ERR_MALLOC_FAIL: the board's memory is full",
    -5: "RKNN_ERR_PARAM_INVALID: it was called wrongly, as if it were another version",
    -6: "RKNN_ERR_MODEL_INVALID: the file is damaged, or made by a toolkit newer than the library",
    -7: "RKNN_ERR_CTX_INVALID: it does not know its own context, as if it were another version",
    -8: "RKNN_ERR_INPUT_INVALID: the input does not fit the file",
    -9: "RKNN_ERR_OUTPUT_INVALID: the output does not fit the file",
    -10: "RKNN_ERR_DEVICE_UNMATCH: library and NPU driver do not match: update one of them",
    -11: "RKNN_ERR_INCOMPATILE_PRE_COMPILE_MODEL: the file was pre-compiled for another driver",
    -12: "RKNN_ERR_INCOMPATILE_OPTIMIZATION_LEVEL_VERSION: this driver does not run the file's"
    " optimization level",
    -13: "RKNN_ERR_TARGET_PLATFORM_UNMATCH: the file was converted for another chip than this"
    " board's",
    -14: "RKNN_ERR_NON_PRE_COMPILED_MODEL_ON_MINI_DRIVER: this board's mini driver runs only"
    " pre-compiled files",
}
# Who must act: codes that another conversion fixes, and those that another attempt may.
_FILE = (-6, -8, -9, -11, -12, -13, -14)
_PASSING = (-1, -2)


class InOutNum(ctypes.Structure):
    """`rknn_input_output_num`."""

    _fields_ = [("n_input", ctypes.c_uint32), ("n_output", ctypes.c_uint32)]


_ATTR: List[Any] = [
    ("index", ctypes.c_uint32),
    ("n_dims", ctypes.c_uint32),
    ("dims", ctypes.c_uint32 * 16),
    ("name", ctypes.c_char * 256),
    ("n_elems", ctypes.c_uint32),
    ("size", ctypes.c_uint32),
    ("fmt", ctypes.c_int),
    ("type", ctypes.c_int),
    ("qnt_type", ctypes.c_int),
    ("fl", ctypes.c_int8),
]


class Attr1(ctypes.Structure):
    """RKNN 1's `rknn_tensor_attr`; `dims` begins with the innermost."""

    _fields_ = _ATTR + [("zp", ctypes.c_uint32), ("scale", ctypes.c_float)]


class Attr2(ctypes.Structure):
    """RKNN 2's `rknn_tensor_attr`; `dims` begins with the batch."""

    _fields_ = _ATTR + [
        ("zp", ctypes.c_int32),
        ("scale", ctypes.c_float),
        ("w_stride", ctypes.c_uint32),
        ("size_with_stride", ctypes.c_uint32),
        ("pass_through", ctypes.c_uint8),
        ("h_stride", ctypes.c_uint32),
    ]


def input_fields(pointer: Any) -> List[Any]:
    """Fields of `rknn_input` where a pointer is like `pointer`."""
    return [
        ("index", ctypes.c_uint32),
        ("buf", pointer),
        ("size", ctypes.c_uint32),
        ("pass_through", ctypes.c_uint8),
        ("type", ctypes.c_int),
        ("fmt", ctypes.c_int),
    ]


def output_fields(pointer: Any) -> List[Any]:
    """Fields of `rknn_output` where a pointer is like `pointer`."""
    return [
        ("want_float", ctypes.c_uint8),
        ("is_prealloc", ctypes.c_uint8),
        ("index", ctypes.c_uint32),
        ("buf", pointer),
        ("size", ctypes.c_uint32),
    ]


class RknnInput(ctypes.Structure):
    """`rknn_input`."""

    _fields_ = input_fields(ctypes.c_void_p)


class RknnOutput(ctypes.Structure):
    """`rknn_output`."""

    _fields_ = output_fields(ctypes.c_void_p)


class PerfRun(ctypes.Structure):
    """`rknn_perf_run`: microseconds."""

    _fields_ = [("run_duration", ctypes.c_int64)]


class SdkVersion(ctypes.Structure):
    """`rknn_sdk_version`."""

    _fields_ = [("api_version", ctypes.c_char * 256), ("drv_version", ctypes.c_char * 256)]


# 32-bit Arm's header makes it 32 bits wide (RV1126), all others 64.
Context: Any = ctypes.c_uint32 if ctypes.sizeof(ctypes.c_void_p) == 4 else ctypes.c_uint64


def signatures(generation: int, context: Any = Context) -> Dict[str, Tuple[Any, Any]]:
    """Results and arguments of the functions of RKNN 1 or 2: `rknn_init` has four or five."""
    code, word, pointer = ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p
    extend = [pointer] if generation == 2 else []
    return {
        "rknn_init": (code, [ctypes.POINTER(context), pointer, word, word] + extend),
        "rknn_destroy": (code, [context]),
        "rknn_query": (code, [context, ctypes.c_int, pointer, word]),
        "rknn_inputs_set": (code, [context, word, ctypes.POINTER(RknnInput)]),
        "rknn_run": (code, [context, pointer]),
        "rknn_outputs_get": (code, [context, word, ctypes.POINTER(RknnOutput), pointer]),
        "rknn_outputs_release": (code, [context, word, ctypes.POINTER(RknnOutput)]),
    }


def probe(load: bool = False) -> Optional[Dict[str, Any]]:
    """The library's version and hash, without loading it; RKNNLite's where there is no library."""
    facts = native.probe(NAME, LIBRARIES, _VERSION)
    if facts is None:
        facts = rknn_lite.probe()
    elif load and not facts.get("problem"):
        try:
            _library({})
        except AgentError as error:
            facts["problem"] = error.message
    if facts is not None and not facts.get("problem"):
        facts["providers"] = list(PROVIDERS)
    return facts


def toolkit(path: str) -> str:
    """The version of the toolkit that made an RKNN 2 file, by its own word; empty without one.

    `RKNN`, its format and the size of its data in 64 bits each, 40 bytes more since format 2, the
    data, then the size of a JSON object and that object, whose `version` it is: as public readers
    take it apart, not verified by us with Rockchip's toolkit.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(24)
            if len(head) < 24 or head[:4] != b"RKNN":
                return ""
            form, size = struct.unpack("<QQ", head[8:])
            file.seek((64 if form & 0xFFF > 1 else 24) + size)
            length = file.read(8)
            if len(length) < 8:
                return ""
            count = struct.unpack("<Q", length)[0]
            header = json.loads(file.read(count).decode("utf-8")) if count < _MOST_JSON else {}
    except (IOError, OSError, ValueError, OverflowError, RecursionError):
        return ""
    made_by = header.get("version") if isinstance(header, dict) else None
    return made_by[:100] if isinstance(made_by, str) else ""


def _library(options: Mapping[str, Any]) -> Tuple[Any, int]:
    path = native.find(NAME, LIBRARIES, options)
    if os.path.basename(path).startswith("librknnmrt."):
        raise AgentError(
            BOARD,
            "%s, the runtime of RV1103 and RV1106, takes zero-copy buffers alone, which farm's "
            "agent does not use; run these rows in the toolkit's simulator (`transport: simulator`)"
            " or as a twin (`transport: emulated`)" % path,
            "no-runtime",
        )
    library = native.load(NAME, path)
    generation = 2 if any(hasattr(library, name) for name in _ONLY_2) else 1
    native.declare(NAME, path, library, signatures(generation))
    return library, generation


class Runtime(BaseRuntime):
    """One context, batch 1, by the C library or by RKNNLite."""

    def __init__(self, path: str, options: Mapping[str, Any], preprocessing: Preprocessor) -> None:
        self.provider = native.provider(NAME, options, PROVIDERS)
        way: Type[Any] = _ByLibrary
        try:
            native.find(NAME, LIBRARIES, options)
        except AgentError:
            if native.named(NAME, options) or rknn_lite.probe() is None:
                raise
            way = rknn_lite.ByLite
        self._way = way(path, options, preprocessing)
        self.inputs, self.outputs = self._way.inputs, self._way.outputs
        self.dim, self.version = self._way.dim, self._way.version
        made_by = toolkit(path)
        self.facts = {"toolkit": made_by} if made_by else {}

    def run(self, data: Input) -> Tuple[bytes, int]:
        values, took = self._way.run(data)
        return values, took

    def close(self) -> None:
        self._way.close()


class _ByLibrary(object):
    def __init__(self, path: str, options: Mapping[str, Any], preprocessing: Preprocessor) -> None:
        self.version, self._file = "", os.path.basename(path)
        self._lib, self._generation = _library(options)
        self._context: Any = None
        try:
            self._open(path, options, preprocessing)
        except BaseException:
            self.close()
            raise

    def _open(self, path: str, options: Mapping[str, Any], preprocessing: Preprocessor) -> None:
        with open(path, "rb") as file:
            model = file.read()
        context = Context()
        extend = [None] if self._generation == 2 else []
        code = self._lib.rknn_init(ctypes.byref(context), model, len(model), 0, *extend)
        self._check("rknn_init", code)
        self._context = context
        # Nobody says that RKNN 1 copies it; its examples free it at the very end.
        self._model = model if self._generation == 1 else b""
        self.version = self._versions()
        counts = InOutNum()
        self._query("the number of inputs", IN_OUT_NUM, counts)
        if counts.n_input != 1:
            raise AgentError(
                TOOLCHAIN, "%s has %d inputs, expected one" % (self._file, counts.n_input)
            )
        said = outputs.one_by_one(options, counts.n_output, self._file)
        self._describe_input(preprocessing)
        self.dim = 0
        self.outputs: List[Dict[str, Any]] = []
        self._sizes: List[int] = []
        for index, each in enumerate(said):
            self._describe_output(index, each, len(said) > 1)
        self._timed_by_driver = True
        self.run(bytes(preprocessing.input_bytes))

    def _describe_input(self, preprocessing: Preprocessor) -> None:
        attr, shape = self._attr(INPUT_ATTR, 0)
        if attr.fmt == NCHW and len(shape) == 4:
            shape = [shape[0], shape[2], shape[3], shape[1]]
        check_shape(list(shape), "uint8", preprocessing)
        native.check_quantized("input", native.stated_input(preprocessing), None)
        self._input = (ctypes.c_char * preprocessing.input_bytes)()
        address = ctypes.cast(self._input, ctypes.c_void_p).value
        self._set = (RknnInput * 1)(
            RknnInput(0, address, preprocessing.input_bytes, 0, UINT8, NHWC)
        )
        name = attr.name.decode("utf-8", "replace")
        self.inputs = [{"name": name, "shape": list(shape), "dtype": "uint8"}]

    def _describe_output(self, index: int, said: Mapping[str, Any], of_several: bool) -> None:
        attr, shape = self._attr(OUTPUT_ATTR, index)
        count = int(attr.n_elems)
        if count < 1:
            raise AgentError(TOOLCHAIN, "%s gives an output of no elements" % self._file)
        stated = native.stated_output(said)
        if stated is not None:
            affine = attr.qnt_type == AFFINE
            found = native.Quantized(attr.scale, attr.zp) if affine else None
            native.check_quantized("output", stated, found)
        name = attr.name.decode("utf-8", "replace")
        if of_several:
            outputs.check_size(name or str(said.get("name")), count, said)
        self.dim += count
        self._sizes.append(4 * count)
        # The driver dequantizes, whatever the file's own type.
        self.outputs.append({"name": name, "shape": shape, "dtype": "float32"})

    def _attr(self, which: int, index: int) -> Tuple[Any, List[int]]:
        attr = Attr2() if self._generation == 2 else Attr1()
        attr.index = index
        self._query("the input" if which == INPUT_ATTR else "the output", which, attr)
        dims = list(attr.dims[: min(attr.n_dims, 16)])
        return attr, dims if self._generation == 2 else dims[::-1]

    def _versions(self) -> str:
        versions = SdkVersion()
        self._query("its version", SDK_VERSION, versions)
        api, driver = versions.api_version, versions.drv_version
        words = b"%s, driver %s" % (api.strip() or b"?", driver.strip() or b"?")
        return words.decode("utf-8", "replace")

    def _query(self, what: str, command: int, into: Any) -> None:
        code = self._lib.rknn_query(self._context, command, ctypes.byref(into), ctypes.sizeof(into))
        self._check("rknn_query of " + what, code)

    def run(self, data: Input) -> Tuple[bytes, int]:
        lib, context, count = self._lib, self._context, len(self._sizes)
        self._input.raw = bytes(data)
        self._check("rknn_inputs_set", lib.rknn_inputs_set(context, 1, self._set))
        found = (RknnOutput * count)(*[RknnOutput(1, 0, i, None, 0) for i in range(count)])
        begin = clock.now_ns()
        self._check("rknn_run", lib.rknn_run(context, None))
        # RKNN 1 may only have queued it: the result, once here, is the end of the run.
        self._check("rknn_outputs_get", lib.rknn_outputs_get(context, count, found, None))
        took = clock.now_ns() - begin
        try:
            if self._timed_by_driver:
                took = self._driver_time(took)
            values = []
            for index, size in enumerate(self._sizes):
                each = found[index]
                if each.size != size or not each.buf:
                    raise AgentError(
                        BOARD,
                        "rknn: an output of %d bytes, expected %d float32" % (each.size, size // 4),
                    )
                values.append(ctypes.string_at(each.buf, size))
        finally:
            lib.rknn_outputs_release(context, count, found)
        return b"".join(values), took

    def _driver_time(self, took: int) -> int:
        """The driver's own time of the run in nanoseconds; `took` where it keeps none."""
        perf = PerfRun()
        code = self._lib.rknn_query(
            self._context, PERF_RUN, ctypes.byref(perf), ctypes.sizeof(perf)
        )
        if code == 0 and perf.run_duration > 0:
            return int(perf.run_duration) * 1000
        self._timed_by_driver = False
        return took

    def _check(self, function: str, code: int) -> None:
        if code == 0:
            return
        kind = TOOLCHAIN if code in _FILE else TRANSIENT if code in _PASSING else BOARD
        raise AgentError(
            kind,
            "rknn%s: %s on %s returned %s"
            % (
                " " + self.version if self.version else "",
                function,
                self._file,
                native.last_error(ERRORS, code),
            ),
        )

    def close(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            self._lib.rknn_destroy(context)
