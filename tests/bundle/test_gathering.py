"""What is sent of a matrix means the same on the other side, wherever its files lie here."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from pathlib import Path

import onnx
import pytest

from orchestrator.bundle.gathering import gather
from orchestrator.errors import UserError
from orchestrator.images.annotated_files import read_coco, read_widerface
from orchestrator.images.checking import Checker
from orchestrator.images.fileset import read_calibration, read_set
from orchestrator.intake.reading import read
from orchestrator.specs.annotated import CocoSet, WiderSet
from orchestrator.specs.manifests import load_detector, load_models
from orchestrator.specs.matrix import load_matrix

from .made import ROOT, faces, image, matrix, model, sent, there


def shown(path: Path) -> list[tuple[str, str, str]]:
    """Identity, role and hash of each image of a test set."""
    found = read_set(load_matrix(path).test_set, Checker())
    return [(item.identity, item.role, item.sha256) for item in found.files]


def test_the_default_matrix_is_sent_as_it_is(tmp_path: Path) -> None:
    bundle = gather(ROOT / "matrix.yaml")
    names = {entry.path for entry in bundle.manifest.entries}
    assert names == {"matrix.yaml", "models/synthface-ir.yaml", "models/synthface-ir.onnx"}
    tree = sent(bundle, tmp_path / "state")
    assert (tree / "matrix.yaml").read_bytes() == (ROOT / "matrix.yaml").read_bytes()
    for path in tree.rglob("*"):
        mode = stat.S_IMODE(path.stat(follow_symlinks=False).st_mode)
        assert not path.is_symlink()
        assert mode == (0o700 if path.is_dir() else 0o600)


@pytest.mark.parametrize("where", ["inside", "elsewhere", "home"])
def test_a_folder_of_faces_wherever_it_lies(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    here = tmp_path / "project"
    lies = {"inside": here / "faces", "elsewhere": tmp_path / "o" / "faces",
            "home": tmp_path / "home" / "faces"}[where]  # fmt: skip
    typed = {"inside": "faces", "elsewhere": "../o/faces", "home": "~/faces"}[where]
    faces(lies)
    (lies / "gallery" / "nobody").mkdir()
    path = matrix(here, rest=f"test_set: {{folder: {typed}}}  # mine\ncalibration: {{images: 9}}\n"
                  .replace("{images: 9}", "{rendered: {images: 9}}"))  # fmt: skip
    found = there(path, tmp_path / "state")
    assert found.test_set.path.is_relative_to(tmp_path / "state")  # type: ignore[union-attr]
    assert shown(Path(found.source.file)) == shown(path)
    assert (found.test_set.path / "gallery" / "nobody").is_dir()  # type: ignore[union-attr]
    text = Path(found.source.file).read_text()
    assert "# mine" in text
    assert (text == path.read_text()) == (where == "inside")
    assert found.source.line(("entries",)) == load_matrix(path).source.line(("entries",))


def test_a_list_whose_files_lie_anywhere(tmp_path: Path) -> None:
    here, other = tmp_path / "project", tmp_path / "other"
    image(here / "data" / "a, b.png", 1)
    image(other / "c.png", 2)
    image(tmp_path / "d.png", 3)
    (here / "data").mkdir(exist_ok=True)
    (here / "data" / "list.csv").write_text(
        'file,identity,role\n"a, b.png",ann,gallery\n'
        f"{other}/c.png,ann,probe\n../../d.png,x,probe\n"
    )
    (other / "cal.csv").write_text("file\nc.png\n../d.png\n")
    rest = f"test_set: {{list: data/list.csv}}\ncalibration: {{list: {other}/cal.csv}}\n"
    path = matrix(here, rest=rest)
    found = there(path, tmp_path / "state")
    assert shown(Path(found.source.file)) == shown(path)
    there_, here_ = (
        read_calibration(each.calibration, Checker())  # type: ignore[arg-type]
        for each in (found, load_matrix(path))
    )
    assert [(i.identity, i.sha256) for i in there_.files] == [
        (i.identity, i.sha256) for i in here_.files
    ]


def test_links_are_followed_here_and_none_is_sent(tmp_path: Path) -> None:
    faces(tmp_path / "real")
    here = tmp_path / "project"
    path = matrix(here, rest="test_set: {folder: faces}\n")
    (here / "faces").symlink_to(tmp_path / "real")
    found = there(path, tmp_path / "state")
    assert shown(Path(found.source.file)) == shown(path)
    (tmp_path / "real" / "probe" / "ann" / "2.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(UserError, match="a broken link"):
        gather(path)


@pytest.mark.parametrize("outside", [False, True])
def test_models_with_weights_beside_them(tmp_path: Path, outside: bool) -> None:
    here = tmp_path / "project"
    folder = tmp_path / "weights" if outside else here / "models"
    manifest = model(folder)
    proto = onnx.load(folder / "synthface-ir.onnx")
    file = folder / "split.onnx"
    (folder / "w").mkdir()
    onnx.save_model(proto, file, save_as_external_data=True, location="w/all.bin")

    old = hashlib.sha256((folder / "synthface-ir.onnx").read_bytes()).hexdigest()
    new = hashlib.sha256(file.read_bytes()).hexdigest()
    text = manifest.read_text().replace("synthface-ir.onnx", "split.onnx").replace(old, new)
    manifest.write_text(text)
    models = f"[synthface-ir, {manifest}]" if outside else "[synthface-ir, mine]"
    path = matrix(here, models)
    found = there(path, tmp_path / "state")
    specs = load_models(found)
    assert list(specs) == ["synthface-ir", "mine"]
    mine = read(specs["mine"].path)
    assert mine.beside == ("w/all.bin",)
    assert mine.fingerprint == read(file).fingerprint
    assert specs["mine"].path.is_relative_to(tmp_path / "state")


def test_a_model_whose_file_lies_elsewhere(tmp_path: Path) -> None:
    here = tmp_path / "project"
    manifest = model(here / "models")
    os.rename(here / "models" / "synthface-ir.onnx", tmp_path / "net.onnx")
    text = manifest.read_text().replace("synthface-ir.onnx", "../../net.onnx")
    manifest.write_text(text)
    found = there(matrix(here, "mine"), tmp_path / "state")
    spec = load_models(found)["mine"]
    assert spec.path.read_bytes() == (tmp_path / "net.onnx").read_bytes()
    assert spec.path.is_relative_to(tmp_path / "state")


def test_photos_with_a_detector_of_ones_own(tmp_path: Path) -> None:
    """Recognizers and a detector in one matrix, the detector elsewhere."""
    here, nets = tmp_path / "project", tmp_path / "nets"
    nets.mkdir()
    for name in ("synthdet.yaml", "synthdet.onnx"):
        shutil.copy(ROOT / "models" / name, nets)
    (nets / "synthdet.yaml").rename(nets / "mydet.yaml")
    text = (nets / "mydet.yaml").read_text().replace("name: synthdet", "name: mydet", 1)
    (nets / "mydet.yaml").write_text(text)
    faces(tmp_path / "photos")
    rest = f"test_set: {{photos: {{path: ../photos, detector: {nets}/mydet.yaml}}}}\n"
    path = matrix(here, "[synthface-ir, synthface-mfn]", rest)
    found = there(path, tmp_path / "state")
    assert list(load_models(found)) == ["synthface-ir", "synthface-mfn"]
    detector = load_detector(found)
    assert detector is not None
    assert detector.name == "mydet"
    assert detector.path.read_bytes() == (nets / "synthdet.onnx").read_bytes()
    assert shown(Path(found.source.file)) == shown(path)


@pytest.mark.parametrize("where", ["data", "../data"])
def test_annotated_pictures(tmp_path: Path, where: str) -> None:
    here = tmp_path / "project"
    data = Path(os.path.normpath(here / where))
    for i, name in enumerate(("a/1.png", "a/2.png", "unused.png")):
        image(data / "i" / name, 20 + i)
    (data / "t.txt").write_text("a/1.png\n1\n1 1 9 9\na/2.png\n1\n5 5 20 20\n")
    pictures = [{"id": i, "file_name": f"a/{i}.png"} for i in (1, 2)]
    boxes = [{"id": i, "image_id": i, "bbox": [1, 1, 30, 30]} for i in (1, 2)]
    (data / "a.json").write_text(json.dumps({"images": pictures, "annotations": boxes}))
    for rest in (
        f"test_set: {{wider: {{images: {where}/i, truth: {where}/t.txt}}}}\n",
        f"test_set: {{coco: {{images: {where}/i, annotations: {where}/a.json}}}}\n",
    ):
        path = matrix(here, "synthdet", f"{rest}calibration: {{folder: {where}/i/a}}\n")
        found = there(path, tmp_path / "state")
        sets = []
        for each in (load_matrix(path).test_set, found.test_set):
            if isinstance(each, WiderSet):
                sets.append(read_widerface(each.images, each.truth))
            else:
                assert isinstance(each, CocoSet)
                sets.append(read_coco(each.images, each.annotations))
        assert sets[0].fingerprint == sets[1].fingerprint
        assert len(sets[1]) == 2
        tree = Path(found.source.file).parent
        assert not list(tree.rglob("unused.png")), "no file names it"
