"""What every runtime is held to, as cases: a file, how it is fed, and the host's own reference.

To add a runtime, add its cases to `CASES`; `test_conformance.py` does the rest through a real
agent. A case names what its runtime needs, and is skipped (in CI: fails) where that is missing.
"""

from __future__ import annotations

import json
import os
import shlex
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.fleet.session.client import Preprocessing

from . import gpu
from .conftest import MODEL, preprocessing, timed_features
from .shims import ShimFile, library

Images = NDArray[np.uint8]
Features = NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """A runtime with one kind of file.

    Attributes:
        name: of the test.
        runtime: as the agent calls it.
        file: the artifact's bytes.
        feed: how the agent makes its input.
        reference: the features that the host expects of raw images.
        cosine: the least that each feature may have with the reference's; None: bit for bit.
        within: the largest difference of one number, beside the cosine.
        options: of the runtime; called late, since some name a library that is compiled first.
        environment: of the agent; likewise.
        provider: what must say that it executed; any when empty.
        device_ns: what each device time must be, where the runtime is known to say just that.
        needs: modules that the agent's Python must have.
    """

    name: str
    runtime: str
    file: Callable[[], bytes]
    feed: Preprocessing
    reference: Callable[[Images], Features]
    cosine: float | None = None
    within: float = 0.0
    options: Callable[[], Mapping[str, Any]] = dict
    environment: Callable[[], Mapping[str, str]] = dict
    provider: str = ""
    device_ns: int | None = None
    needs: tuple[str, ...] = field(default=())

    def prefix(self) -> str:
        """Shell words that give the agent its environment."""
        given = self.environment()
        return "".join(f"export {name}={shlex.quote(value)}; " for name, value in given.items())


@cache
def _session() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        MODEL.read_bytes(), options, providers=["CPUExecutionProvider"]
    )


def _onnx(images: Images) -> Features:
    run = _session()
    name = run.get_inputs()[0].name
    rows = []
    for image in images:
        plain = (image.astype(np.float32) - np.float32(127.5)) / np.float32(127.5)
        rows.append(run.run(None, {name: plain.transpose(2, 0, 1)[None]})[0][0])
    return np.array(rows, np.float32)


def tengine(name: str, file: ShimFile, provider: str) -> Case:
    """A tmfile's substitute on a Tengine that was built with TIM-VX."""
    quantized = {} if file.dtype == "float32" else {"scale": file.in_scale}
    feed = preprocessing(file.size, dtype=file.dtype, **quantized, zero_point=file.in_zero)
    output = {"dtype": file.dtype}
    if quantized:
        output |= {"scale": file.out_scale, "zero_point": file.out_zero}
    return Case(
        name,
        "tengine",
        lambda: file.data,
        feed,
        file.features,
        # Sums in another order may fall on another side of a half: one step of the output.
        cosine=0.99999,
        within=1e-6 if file.dtype == "float32" else 1.001 * file.out_scale,
        options=lambda: {
            "providers": [provider],
            "library": str(library("tengine")),
            "interface": {"output": output},
        },
        provider=provider,
    )


MIXED = {"mean": (120.0, 110.0, 100.0), "std": (60.0, 58.0, 57.0)}
RAW = preprocessing(16, dtype="uint8")


def _raw(colour: str) -> Preprocessing:
    return Preprocessing("NHWC", colour, 0.0, 1.0, 16, 16, dtype="uint8")


def rknn(generation: int, dtype: str) -> Case:
    """An RKNN file's substitute: raw pixels in, the driver's own time."""
    file = ShimFile("R", dtype, out_zero=120 if dtype == "uint8" else -9, **MIXED)
    return Case(
        f"rknn{generation}",
        "rknn",
        lambda: file.data,
        _raw("RGB"),
        file.features,
        cosine=0.99999,
        within=1.001 * file.out_scale,
        options=lambda: {"library": str(library(f"rknn{generation}"))},
        provider="NPU",
        device_ns=4_321_000,
    )


LITE = '''
"""A substitute for rknn-toolkit-lite2's package, by its documented names: over the RKNN 2 shim."""
import ctypes, os
import numpy

class RKNNLite(object):
    NPU_CORE_AUTO = 0

    def __init__(self, verbose=False, verbose_file=None):
        print("I RKNN: shim FARM")

    def load_rknn(self, path, key_path=None):
        data = open(path, "rb").read()
        self._model = data
        return 0 if data[12:18] == b"FSHIMR" else -1

    def init_runtime(self, target=None, device_id=None, async_mode=False, core_mask=0):
        from farm_agent.runtimes.rknn import Context
        self._lib = ctypes.CDLL(os.environ["SHIM_RKNN"])
        self._context = Context()  # 32 bits wide on 32-bit Arm
        return self._lib.rknn_init(
            ctypes.byref(self._context), self._model, len(self._model), 0, None
        )

    def inference(self, inputs, data_type=None, data_format=None, inputs_pass_through=None,
                  get_frame_id=False, reuse_outputs=False):
        image, = inputs
        if data_format != ["nhwc"] or image.dtype != numpy.uint8 or image.ndim != 4:
            return None
        from farm_agent.runtimes.rknn import RknnInput, RknnOutput
        image = numpy.ascontiguousarray(image)
        lib, context = self._lib, self._context
        given = RknnInput(0, image.ctypes.data, image.nbytes, 0, 3, 1)
        out = RknnOutput(1, 0, 0, None, 0)
        if (lib.rknn_inputs_set(context, 1, ctypes.byref(given)) or lib.rknn_run(context, None)
                or lib.rknn_outputs_get(context, 1, ctypes.byref(out), None)):
            return None
        values = numpy.frombuffer(ctypes.string_at(out.buf, out.size), "<f4").copy()
        lib.rknn_outputs_release(context, 1, ctypes.byref(out))
        return [values.reshape(1, -1)]

    def get_sdk_version(self):
        return "API: 2.3.2\\nDRV: 0.9.6"

    def release(self):
        self._lib.rknn_destroy(self._context)
'''


@cache
def _lite_package() -> Path:
    folder = library("rknn2").parent / "packages"
    (folder / "rknnlite").mkdir(parents=True)
    (folder / "rknnlite" / "__init__.py").write_text("")
    (folder / "rknnlite" / "api.py").write_text(textwrap.dedent(LITE))
    (folder / "rknn_toolkit_lite2-2.3.2.dist-info").mkdir()
    return folder


def _lite() -> Case:
    file = ShimFile("R", "int8", out_zero=-9, **MIXED)
    return Case(
        "rknnlite",
        "rknn",
        lambda: file.data,
        _raw("RGB"),
        file.features,
        cosine=0.99999,
        within=1.001 * file.out_scale,
        environment=lambda: {
            "PYTHONPATH": str(_lite_package()),
            "SHIM_RKNN": str(library("rknn2")),
            "FARM_RKNN_LIB": "",
        },
        provider="NPU",
        needs=("numpy",),
    )


def tensorrt(version: str) -> Case:
    """An ONNX file, of which the board builds an engine with a pretended TensorRT."""

    def file() -> bytes:
        return gpu.onnx_file(gpu.scratch() / "model.onnx").read_bytes()

    def reference(images: Images) -> Features:
        prepared = (images.astype(np.float32) - 128).transpose(0, 3, 1, 2)
        return gpu.expected(gpu.onnx_file(gpu.scratch() / "model.onnx"), prepared)

    return Case(
        f"tensorrt-{version}",
        "tensorrt",
        file,
        Preprocessing("NCHW", "RGB", 128.0, 1.0, gpu.SIZE, gpu.SIZE),
        reference,
        options=lambda: {"providers": ["TensorRT"], "library": str(gpu.shim())},
        environment=lambda: gpu.Machine(gpu.scratch(), version).environment(),
        provider="TensorRT",
    )


DATA = Path(__file__).parent / "data"


@cache
def _small() -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(
        (DATA / "small.onnx").read_bytes(), providers=["CPUExecutionProvider"]
    )


def _small_reference(images: Images) -> Features:
    values = ((images.astype(np.float32) - 127.5) / 127.5).transpose(0, 3, 1, 2)
    rows = [_small().run(None, {"data": value[None]})[0][0] for value in values]
    return np.array(rows, np.float32)


def real_tengine(dtype: str, cosine: float, within: float) -> Case:
    """Tengine's own library on the CPU, with files of Tengine's own tools (`data/make.py`)."""
    interface = json.loads((DATA / f"small-{dtype}.json").read_text())
    wants = interface["input"]
    return Case(
        f"real-tengine-{dtype}",
        "tengine",
        (DATA / f"small-{dtype}.tmfile").read_bytes,
        preprocessing(
            16, dtype=dtype, scale=wants.get("scale"), zero_point=wants.get("zero_point", 0)
        ),
        _small_reference,
        cosine=cosine,
        within=within,
        options=lambda: {
            "providers": ["CPU"],
            "library": os.environ["FARM_TENGINE_LIB"],
            "interface": interface,
        },
        provider="CPU",
    )


REAL = (
    (real_tengine("float32", 0.99999, 1e-4), real_tengine("uint8", 0.995, 0.5))
    if os.environ.get("FARM_TENGINE_LIB")
    else ()
)

CASES = (
    Case(
        "onnxruntime",
        "onnxruntime",
        MODEL.read_bytes,
        preprocessing(112),
        _onnx,
        options=lambda: {"providers": ["CPUExecutionProvider"], "intra_op_threads": 1},
        provider="CPUExecutionProvider",
        needs=("onnxruntime",),
    ),
    Case(
        "timed",
        "timed",
        lambda: b"anything",
        preprocessing(16),
        lambda images: timed_features(images, 24, 16),
        options=lambda: {"ms": 1, "dim": 24},
        provider="sleep",
    ),
    tengine("tengine-timvx-uint8", ShimFile("T", "uint8"), "TIMVX"),
    tengine("tengine-cpu-uint8", ShimFile("T", "uint8"), "CPU"),
    tengine("tengine-cpu-float32", ShimFile("T", "float32"), "CPU"),
    tengine("tengine-cpu-int8", ShimFile("T", "int8", in_zero=0, out_zero=0), "CPU"),
    rknn(1, "uint8"),
    rknn(2, "int8"),
    _lite(),
    tensorrt("8.4.1"),  # by bindings
    tensorrt("10.3.0"),  # by tensor names
    *REAL,
)
