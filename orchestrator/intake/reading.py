"""Reading a user's model: one ONNX file, or one with its weights in files beside it.

Weights beside the file are looked for in the folder of the model, never in the current one, and
nowhere else: a file from somebody else must not be able to name any file of this computer.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import onnx
from onnx import ModelProto, TensorProto

from orchestrator.errors import UserError
from orchestrator.graphs import edit
from orchestrator.hashing import digest

# What protobuf can hold in one message, with room for the graph beside the weights.
MOST_BYTES = 2**31 - 2**24


@dataclass(frozen=True)
class Original:
    """A user's model as it was given.

    Attributes:
        path: the ONNX file.
        data: its bytes.
        proto: the model with all weights inside; not to be changed.
        sha256: of the file.
        beside: names of the files that hold weights, relative to the model's folder.
        fingerprint: hash (hex) of the file and of every weight beside it.
    """

    path: Path
    data: bytes
    proto: ModelProto
    sha256: str
    beside: tuple[str, ...]
    fingerprint: str

    @property
    def whole(self) -> bytes:
        """The model as one file, weights inside."""
        return bytes(self.proto.SerializeToString()) if self.beside else self.data


def read(path: Path) -> Original:
    """Read a model; whether it is sound ONNX, `normalize` looks at.

    Raises:
        UserError: it cannot be read, is no ONNX, or its weights are not where it says.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(
                f"the model {path} has {path.stat().st_size / 1e9:.1f} GB; an ONNX file of more "
                "than 2 GB cannot be parsed",
                "export it with its weights beside it (external data), or in float16",
            )
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the model {path}: {error.strerror}") from error
    try:
        proto = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's DecodeError, whose package has no type stubs
        raise UserError(f"the model {path} is not an ONNX file: {error}", _instead(data)) from error
    if not proto.graph.node:
        raise UserError(
            f"the model {path} is not an ONNX file with a graph: it has no nodes",
            _instead(data) if not data else "",
        )
    sha256 = hashlib.sha256(data).hexdigest()
    names, contents = _bring_in(proto, path)
    fingerprint = digest({"file": sha256, "beside": contents}) if names else sha256
    return Original(path, data, proto, sha256, names, fingerprint)


def beside(path: Path) -> tuple[Path, ...]:
    """The files that hold a model's weights beside it; its weights are not read.

    Raises:
        UserError: it is no ONNX file, or a file that it names is not there or outside its folder.
    """
    try:
        proto = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise UserError(f"cannot read the model {path}: {error.strerror}") from error
    except Exception as error:  # protobuf's DecodeError, whose package has no type stubs
        raise UserError(f"the model {path} is not an ONNX file: {error}") from error
    found: dict[Path, None] = {}
    for tensor in _tensors(proto):
        if tensor.data_location == TensorProto.EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            found[_inside(path, entries.get("location", ""), tensor.name)] = None
    return tuple(found)


def _tensors(proto: ModelProto) -> Iterator[TensorProto]:
    yield from proto.graph.initializer
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _bring_in(proto: ModelProto, path: Path) -> tuple[tuple[str, ...], list[list[str]]]:
    """Put the weights beside a file into it; the files' names, and each weight's hash."""
    outside = [t for t in _tensors(proto) if t.data_location == TensorProto.EXTERNAL]
    if not outside:
        return (), []
    total = sum(_bytes(tensor) for tensor in outside)
    if total > MOST_BYTES:
        raise UserError(
            f"the weights of {path} are {total / 1e9:.1f} GB, more than the 2 GB that one ONNX "
            "file can hold, and boards get one file",
            "export the model in float16, or a smaller one",
        )
    names: dict[str, None] = {}
    contents = []
    for tensor in outside:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        file = _inside(path, location, tensor.name)
        tensor.raw_data = _read(file, entries, tensor, path)
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]
        names[location] = None
        contents.append([tensor.name, hashlib.sha256(tensor.raw_data).hexdigest()])
    return tuple(names), contents


def _bytes(tensor: TensorProto) -> int:
    """Bytes that a tensor's shape and type ask for."""
    if any(size < 0 for size in tensor.dims):
        raise UserError(f"weights {_name(tensor.name)} have the shape {list(tensor.dims)}")
    count = math.prod(tensor.dims)
    try:
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except KeyError as error:
        raise UserError(f"weights {_name(tensor.name)} have no known type") from error
    return int(count * kind.itemsize)


def _inside(path: Path, location: str, name: str) -> Path:
    """The file that holds a weight.

    Raises:
        UserError: it is not there, or lies outside the model's folder.
    """
    folder = path.parent
    pure = PurePosixPath(location.replace("\\", "/"))
    file = folder / pure
    leaves = pure.is_absolute() or ".." in pure.parts or not location
    if leaves or not file.resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"{path}: weights {_name(name)} are said to be in {location!r}, which is not inside "
            f"the model's folder {folder}",
            "put the file with the weights beside the model and export again",
        )
    if not file.is_file():
        raise UserError(
            f"{path}: weights {_name(name)} are in {location!r}, and there is no file {file}",
            "copy it beside the model; the exporter wrote both",
        )
    return file


def _read(file: Path, entries: dict[str, str], tensor: TensorProto, path: Path) -> bytes:
    wanted = _bytes(tensor)
    try:
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or wanted)
    except ValueError as error:
        text = f"{path}: the place of weights {_name(tensor.name)} is damaged"
        raise UserError(text) from error
    size = file.stat().st_size
    if length != wanted or offset < 0 or offset + length > size:
        raise UserError(
            f"{path}: weights {_name(tensor.name)} of shape {list(tensor.dims)} need {wanted} "
            f"bytes; {file.name} has {size} bytes, and {length} at {offset} are named",
            "model and weights do not belong together, or one is cut off; export again",
        )
    try:
        with file.open("rb") as stream:
            stream.seek(offset)
            return stream.read(length)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error


def _name(name: str) -> str:
    return f"'{edit.shown(name, 120)}'"


def _instead(data: bytes) -> str:
    """What a file that is no ONNX model seems to be, and what to do."""
    if data.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer: `git lfs pull` brings the file itself"
    if not data:
        return "it is empty: export or download it again"
    if b"\0" not in data[:4096] and data[:4096].isascii():
        return "it is a text file; give the .onnx file that the exporter wrote"
    return "it may be cut off: compare its size or sha256 with the source's"
