"""Matrices that name files in all ways, and what becomes of them on the other side."""

from __future__ import annotations

import shutil
from pathlib import Path

from PIL import Image

from orchestrator.bundle.checking import check_bundle
from orchestrator.bundle.gathering import Bundle, gather
from orchestrator.bundle.manifest import Limits
from orchestrator.bundle.uploads import Uploads
from orchestrator.specs.matrix import Matrix

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = "entries:\n  - {name: float32, boards: this-host, quantization: float32}\n"
RENDERED = "test_set: {rendered: {identities: 4, unknown: 2}}\n"


def image(path: Path, shade: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (112, 112), (shade, 2 * shade % 256, 9)).save(path)
    return path


def faces(folder: Path, first: int = 0) -> Path:
    """A test set: two people, an image each in both roles."""
    for i, role in enumerate(("gallery", "probe")):
        for j, who in enumerate(("ann", "bob")):
            image(folder / role / who / "1.png", first + 10 * i + j)
    return folder


def model(folder: Path, name: str = "mine") -> Path:
    """The default model under another name."""
    folder.mkdir(parents=True, exist_ok=True)
    text = (ROOT / "models" / "synthface-ir.yaml").read_text()
    text = text.replace("name: synthface-ir", f"name: {name}", 1)
    shutil.copy(ROOT / "models" / "synthface-ir.onnx", folder)
    (folder / f"{name}.yaml").write_text(text)
    return folder / f"{name}.yaml"


def matrix(folder: Path, models: str = "synthface-ir", rest: str = RENDERED) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "matrix.yaml"
    path.write_text(f"models: {models}\n{rest}{ENTRIES}")
    return path


def sent(bundle: Bundle, state: Path) -> Path:
    """The folder that the bundle is laid out in, as its receiver does it."""
    uploads = Uploads(state)
    manifest = uploads.store_manifest(bundle.manifest.to_bytes(), Limits())
    for sha256, size, offset in uploads.missing(manifest):
        content = bundle.contents[sha256]
        data = content if isinstance(content, bytes) else content.read_bytes()
        with uploads.receiving(sha256, size, offset) as file:
            file.write(data[offset:])
    assert uploads.missing(manifest) == []
    return uploads.lay_out(manifest)


def there(path: Path, state: Path) -> Matrix:
    """A matrix as it is on the other side, checked."""
    bundle = gather(path)
    return check_bundle(sent(bundle, state), bundle.manifest.matrix)
