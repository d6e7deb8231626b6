"""What somebody sends who is no friend: refused on the other side, before anything reads it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.bundle.checking import check_bundle, check_text
from orchestrator.bundle.gathering import gather
from orchestrator.errors import UserError
from orchestrator.specs.matrix import Matrix
from orchestrator.specs.meaning import Code, Means, field_meanings, parts
from orchestrator.specs.model import ModelSpec

from .made import ENTRIES, RENDERED, ROOT, faces, image, matrix, model

KEYS = {
    f"{part.__name__}.{name}": meaning
    for part in parts(Matrix) | parts(ModelSpec)
    for name in part.model_fields
    for meaning in field_meanings(part, name)
    if meaning is not Means.WORD
}
"""Every key of a matrix or a manifest that leads to code or to a file."""
SECRET = "/etc/passwd"
SCENES = "calibration: {scenes: {images: 4}}\n"


def _entry(text: str) -> str:
    return ENTRIES.replace("quantization: float32", f"quantization: float32, {text}")


def _set(folder: Path, text: str, models: str = "synthface-ir") -> None:
    matrix(folder, models, f"test_set: {text}\n")


def _toolchain(folder: Path) -> None:
    (folder / "matrix.yaml").write_text(
        f"models: synthface-ir\n{RENDERED}{_entry('toolchain: evil')}"
    )


def _head(folder: Path) -> None:
    manifest = model(folder / "models")
    text = re.sub(r"(?m)^(embedding_size|output):.*\n", "", manifest.read_text())
    manifest.write_text(text + "task: detection\ndetection: {head: evil}\n")
    _set(folder, "{scenes: {images: 4}}", "mine")


def _file(folder: Path) -> None:
    manifest = model(folder / "models")
    manifest.write_text(manifest.read_text().replace("synthface-ir.onnx", SECRET))
    matrix(folder, "mine")


def _quantized(folder: Path) -> None:
    manifest = model(folder / "models")
    text = manifest.read_text() + f"quantized: {{file: ../../../x, sha256: {'ab' * 32}}}\n"
    manifest.write_text(text)
    matrix(folder, "mine")


def _lists(which: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        lists = dict.fromkeys(("easy", "medium", "hard"), "l.mat") | {which: SECRET}
        shown = ", ".join(f"{name}: {value}" for name, value in lists.items())
        (folder / "t.txt").write_text("a.png\n1\n1 1 9 9\n")
        _set(folder, f"{{wider: {{images: i, truth: t.txt, lists: {{{shown}}}}}}}")

    return write


HOSTILE: dict[str, Callable[[Path], None]] = {
    "Entry.toolchain": _toolchain,
    "DetectionPart.head": _head,
    "ModelSpec.file": _file,
    "QuantizedFile.file": _quantized,
    "Matrix.models": lambda folder: matrix(folder, "../../x.yaml") and None,
    "PhotosSet.detector": lambda folder: _set(
        folder, "{photos: {path: faces, detector: /etc/x.yaml}}"
    ),
    "RenderedPhotosSet.detector": lambda folder: _set(
        folder, "{rendered_photos: {identities: 2, detector: ~/x.yaml}}"
    ),
    "FolderSet.path": lambda folder: _set(folder, "{folder: /etc}"),
    "FolderCalibration.path": lambda folder: (
        matrix(folder, rest=f"{RENDERED}calibration: {{folder: ../..}}\n") and None
    ),
    "PhotosSet.path": lambda folder: _set(
        folder, "{photos: {path: ~, detector: synthface-detector}}".replace("~", "~/x")
    ),
    "WiderSet.images": lambda folder: _set(folder, "{wider: {images: /etc, truth: t.txt}}"),
    "WiderSet.truth": lambda folder: _set(folder, f"{{wider: {{images: i, truth: {SECRET}}}}}"),
    "WiderLists.easy": _lists("easy"),
    "WiderLists.medium": _lists("medium"),
    "WiderLists.hard": _lists("hard"),
    "CocoSet.images": lambda folder: _set(folder, "{coco: {images: /etc, annotations: a.json}}"),
    "CocoSet.annotations": lambda folder: _set(
        folder, f"{{coco: {{images: i, annotations: {SECRET}}}}}"
    ),
}


def test_every_key_that_leads_somewhere_has_a_hostile_example() -> None:
    assert set(HOSTILE) == set(KEYS)


@pytest.mark.parametrize("key", sorted(KEYS))
def test_a_key_that_leads_elsewhere_is_refused_where_it_arrives(tmp_path: Path, key: str) -> None:
    HOSTILE[key](tmp_path)
    with pytest.raises(UserError) as refused:
        check_bundle(tmp_path, "matrix.yaml")
    text = str(refused.value)
    assert re.search(r"\.yaml:\d+: ", text)
    wanted = "plug-in" if isinstance(KEYS[key], Code) else "leads outside of what was sent"
    assert wanted in text
    assert "root:" not in text


@pytest.mark.parametrize("key", ["file", "quantized"])
def test_not_even_the_hash_of_a_file_elsewhere_is_said(tmp_path: Path, key: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    tree = tmp_path / "tree"
    text = (ROOT / "models" / "synthdet.yaml").read_text()
    model(tree / "models")
    for name, task in (("mine", "recognition"), ("det", "detection")):
        source = text if task == "detection" else (tree / "models" / "mine.yaml").read_text()
        source = re.sub(r"(?m)^name: .*", f"name: {name}", source)
        (tree / "models" / f"{name}.yaml").write_text(
            re.sub(r"(?m)^file: .*", f"file: {secret}", source)
            if key == "file"
            else f"{source}quantized: {{file: {secret}, sha256: {'ab' * 32}}}\n"
        )
    faces(tree / "faces")
    photos = "test_set: {photos: {path: faces, detector: det}}\n"
    for models, rest in (("mine", RENDERED), ("synthface-ir", photos)):
        matrix(tree, models, rest)
        with pytest.raises(UserError) as refused:
            check_bundle(tree, "matrix.yaml")
        said = str(refused.value)
        assert hashlib.sha256(b"secret").hexdigest() not in said
        wanted = "leads outside" if key == "file" or models == "mine" else "recognition only"
        assert wanted in said


@pytest.mark.parametrize("key", sorted(k for k, m in KEYS.items() if isinstance(m, Code)))
def test_a_key_that_loads_code_is_refused_before_anything_is_sent(tmp_path: Path, key: str) -> None:
    HOSTILE[key](tmp_path)
    with pytest.raises(UserError, match="is a plug-in, no part of farm"):
        gather(tmp_path / "matrix.yaml")


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../../../etc/passwd", "sub/../../../x.png", "link.png"]
)
def test_lists_that_name_files_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    image(tmp_path / "out.png", 3)
    root = tmp_path / "tree"
    faces(root / "i")
    (root / "i" / "link.png").symlink_to(tmp_path / "out.png")  # no bundle has one
    (root / "i" / "l.csv").write_text(f"file,identity,role\n{name},ann,gallery\n")
    (root / "i" / "c.csv").write_text(f"file\n{name}\n")
    (root / "t.txt").write_text(f"{name}\n1\n1 1 9 9\n")
    (root / "a.json").write_text(
        json.dumps({"images": [{"id": 1, "file_name": name}], "annotations": []})
    )
    for rest in (
        "test_set: {list: i/l.csv}\n",
        f"{RENDERED}calibration: {{list: i/c.csv}}\n",
        "test_set: {wider: {images: i, truth: t.txt}}\n",
        "test_set: {coco: {images: i, annotations: a.json}}\n",
    ):
        matrix(root, rest=rest)
        with pytest.raises(UserError, match="leads to a file outside of what was sent"):
            check_bundle(root, "matrix.yaml")


@pytest.mark.parametrize("key", sorted(KEYS))
def test_a_matrix_that_comes_alone_names_no_file_at_all(tmp_path: Path, key: str) -> None:
    if key.startswith(("ModelSpec", "QuantizedFile", "DetectionPart")):
        pytest.skip("of a manifest, which does not come")
    HOSTILE[key](tmp_path)
    with pytest.raises(UserError):
        check_text(tmp_path, "matrix.yaml")


def test_a_matrix_that_comes_alone_may_name_models_and_rendered_sets(tmp_path: Path) -> None:
    assert check_text(tmp_path, matrix(tmp_path).name).models == ("synthface-ir",)
