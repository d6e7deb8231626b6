"""What goes to Rockchip's toolkits and what comes back: requests, images, `.rknn` files, logs.

Shared by both toolkits. Nothing here runs anything.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ToolchainError, UserError
from orchestrator.toolchains.base import Conversion, Scheme
from orchestrator.toolchains.process import plain_lines

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

MODEL, DATASET, REQUEST, RESULT = "model.onnx", "dataset.txt", "request.json", "result.json"
OUTPUT, TOOL = "model.rknn", "rknn_tool.py"

_SCHEME = "farm.rknn.scheme"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_HEADER = 64
_LAYER = re.compile(r"^\d+\s+(\S+)\s+\S+\s+(CPU|GPU|NPU)\s.*\s(\S+:\S+)$")
_LOG_PREFIX = re.compile(r"^[A-Z] RKNN: \[[\d:.]+\] ?")
_NOT_LAYERS = ("InputOperator", "OutputOperator")


def float_model(model: bytes, scheme: Scheme, opset: int, ir: int) -> bytes:
    """The float32 ONNX file that a toolkit loads: prepared, batch 1, carrying its scheme."""
    from orchestrator.graphs import prepare

    return _stamped(prepare.prepare(model), scheme, opset, ir)


def given_model(model: bytes, scheme: Scheme, opset: int, ir: int) -> bytes:
    """As `float_model`, of a file that is quantized already."""
    from orchestrator.graphs import qdq

    return _stamped(qdq.normal(model), scheme, opset, ir)


def _stamped(model: bytes, scheme: Scheme, opset: int, ir: int) -> bytes:
    import onnx

    from orchestrator.graphs import edit, stamp

    proto = stamp.set_opset(onnx.ModelProto.FromString(model), opset)
    proto.ir_version = ir
    stamp.freeze_batch(proto, 1)
    onnx.helper.set_model_props(proto, {_SCHEME: json.dumps(scheme.to_dict(), sort_keys=True)})
    return edit.dump(proto)


def scheme_of(proto: onnx.ModelProto, toolchain: str) -> Scheme:
    """The scheme that `float_model` wrote.

    Raises:
        UserError: none is there.
    """
    text = next((p.value for p in proto.metadata_props if p.key == _SCHEME), None)
    if text is None:
        raise UserError(
            f"the file to convert does not say its scheme: quantize of toolchain '{toolchain}' "
            "did not make it"
        )
    fields = json.loads(text)
    return Scheme(**{**fields, "keep_float": tuple(fields["keep_float"])})


@dataclass(frozen=True)
class Job:
    """Everything that a toolkit is given, by file name."""

    request: Mapping[str, Any]
    files: Mapping[str, bytes]

    def bundle(self) -> bytes:
        """One file of all; equal jobs give equal bytes."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name in sorted(self.files):
                info = zipfile.ZipInfo(name, _EPOCH)
                info.external_attr = 0o644 << 16
                info.create_system = 3
                packed = not name.endswith(".png")
                info.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
                archive.writestr(info, self.files[name])
        return buffer.getvalue()

    @classmethod
    def of(cls, bundle: bytes) -> Job:
        """The inverse of `bundle`."""
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        return cls(json.loads(files[REQUEST]), files)


def job(
    quantized: bytes, calls: Mapping[str, Any], toolkit: int, images: NDArray[np.uint8] | None
) -> Job:
    """A request with its files.

    Args:
        quantized: what `float_model` made.
        calls: `config` and `build`, the arguments of these calls.
        toolkit: 1 or 2.
        images: the calibration set in the model's order of colours; None without quantization.
    """
    build = dict(calls["build"])
    files = {MODEL: quantized, TOOL: tool_source()}
    if images is not None:
        build["dataset"] = DATASET
        names = [f"{number:05}.png" for number in range(len(images))]
        files |= {name: png(image) for name, image in zip(names, images, strict=True)}
        files[DATASET] = "".join(f"./{name}\n" for name in names).encode()
    request = {
        "toolkit": toolkit,
        "config": calls["config"],
        "load_onnx": {"model": MODEL},
        "build": build,
        "output": OUTPUT,
    }
    files[REQUEST] = json.dumps(request, indent=1, sort_keys=True).encode()
    return Job(request, files)


def tool_source() -> bytes:
    """The script that drives the toolkit, wherever that is."""
    return files("orchestrator.toolchains").joinpath(TOOL).read_bytes()


def png(image: NDArray[np.uint8]) -> bytes:
    """A lossless file of uint8 (height, width, 3)."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def calibration_images(
    conversion: Conversion, scheme: Scheme, toolchain: str
) -> NDArray[np.uint8] | None:
    """The calibration set with its channels in the model's order.

    The images are stored as the board will be fed, so that nobody has to swap colours and the
    toolkits' options for it, which differ, are not needed.

    Raises:
        UserError: a quantized scheme without images.
    """
    if scheme.is_float or scheme.is_given:
        return None
    images = conversion.images
    if images is None or len(images) == 0:
        raise UserError(
            f"scheme '{scheme}' needs calibration images: toolchain '{toolchain}' calibrates "
            "by itself",
            "give the matrix a calibration set that is not empty",
        )
    return images[..., ::-1] if conversion.preprocessing["colour"] == "BGR" else images


def normalization(conversion: Conversion) -> dict[str, list[list[float]]]:
    """`mean_values` and `std_values`, one list an input, in the model's order of colours.

    Raises:
        UserError: the model takes its channels last, which these toolkits do not load.
    """
    wanted = conversion.preprocessing
    if not wanted:
        raise UserError("the model's preprocessing (mean, std, colour) was not given")

    def three(value: Any) -> list[float]:
        values = [float(v) for v in value] if isinstance(value, (list, tuple)) else [float(value)]
        return values * 3 if len(values) == 1 else values

    return {"mean_values": [three(wanted["mean"])], "std_values": [three(wanted["std"])]}


def interface(proto: onnx.ModelProto) -> dict[str, Any]:
    """How a board feeds the file: raw pixels, since mean and std are part of it."""
    from orchestrator.graphs.describe import describe_proto
    from orchestrator.toolchains import finish

    info = describe_proto(proto)
    _, height, width = info.image_shape
    return {
        "input": {
            "name": info.input.name,
            "shape": [1, height, width, 3],
            "dtype": "uint8",
            "layout": "NHWC",
            "normalized_by": "model",
        },
        # The runtime is asked for floats and dequantizes by itself.
        **finish.outputs_facts(info, "float32"),
        "embedding_size": info.embedding_size,
    }


@dataclass(frozen=True)
class RknnFile:
    """What a `.rknn` file of toolkit 2 says of itself."""

    version: str
    targets: tuple[str, ...]
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]


def read_rknn(data: bytes) -> RknnFile:
    """Read the description at the end of a `.rknn` file.

    The layout was read off files of rknn-toolkit2 2.5.0: `RKNN`, at byte 16 the length n of the
    compiled graph (uint64), at 64 + n the length of a JSON text (uint64), and the text.

    Raises:
        ToolchainError: it is no such file, or cut off.
    """
    if data[:4] != b"RKNN":
        raise ToolchainError(f"not an RKNN file: it begins with {data[:4]!r}, expected b'RKNN'")
    try:
        (graph,) = struct.unpack_from("<Q", data, 16)
        (length,) = struct.unpack_from("<Q", data, _HEADER + graph)
        start = _HEADER + graph + 8
        header = json.loads(data[start : start + length].decode())
        tensors = {tensor["tensor_id"]: tensor for tensor in header["norm_tensor"]}
        ends: dict[str, list[tuple[int, ...]]] = {"input": [], "output": []}
        for each in header["graph"]:
            ends[each["left"]].append(tuple(tensors[each["right_tensor_id"]]["size"]))
        return RknnFile(
            header["version"],
            tuple(header["target_platform"]),
            tuple(ends["input"]),
            tuple(ends["output"]),
        )
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise ToolchainError(
            f"an RKNN file of {len(data)} bytes whose description cannot be read: {error!r}"
        ) from error


def layers_off_npu(log: str) -> list[str]:
    """Layers that the compiler's table gives to a processor other than the NPU: `Det:name`."""
    found: dict[str, None] = {}
    for line in _error_lines(log):
        layer = _LAYER.match(line.strip())
        if layer and layer[2] != "NPU" and layer[1] not in _NOT_LAYERS:
            found[layer[3]] = None
    return list(found)


def complaint(result: Mapping[str, Any], log: str) -> str:
    """Why a toolkit failed, in its own words: the error it raised, else its last lines.

    Its verbose lines (`D RKNN`) and Python's stack frames are left out.
    """
    raised = str(result.get("error", "")).strip()
    last = plain_lines(raised)[-1:] if "\n" in raised else [raised]
    head = raised.split(":", 1)[0] if "\n" in raised else ""
    words = [line for line in plain_lines(log) if not _noise(line)]
    parts = [": ".join(part for part in (head, *last) if part)]
    parts += [line for line in words[-6:] if line not in parts[0]]
    return "\n".join(part for part in parts if part)


def named_nodes(text: str, proto: onnx.ModelProto) -> list[str]:
    """The nodes of a model whose names, or whose outputs', stand in a text."""
    from orchestrator.graphs import edit

    words = set(re.findall(r"[^\s'\"\[\](),:;]+", text))
    return [edit.label(n) for n in proto.graph.node if {n.name, *n.output} & words]


def _noise(line: str) -> bool:
    return (
        line.startswith(("D RKNN", "I ", "  File ", "    ", "Traceback", "During handling"))
        or "it/s]" in line
        or not line.strip()
    )


def _error_lines(log: str) -> Iterator[str]:
    for line in plain_lines(log):
        yield _LOG_PREFIX.sub("", line)


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine of each pair of rows; NaN where a row is zero or not finite."""
    import numpy as np

    x, y = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        return np.asarray((x * y).sum(axis=1) / lengths)


def spread(count: int, some: int) -> Sequence[int]:
    """At most `some` numbers below `count`, evenly spread."""
    import numpy as np

    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, some))}) if count else ()
