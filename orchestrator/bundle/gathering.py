"""A matrix's files on the computer of whoever sends it.

What lies in the matrix's folder keeps its place. What lies elsewhere gets one in the bundle, and
the text that names it (matrix, manifest or list) is sent with the new name in it. Links are
followed here; a bundle has none.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.bundle.manifest import Entry, Manifest, path_problem
from orchestrator.bundle.reach import Reached, reached
from orchestrator.bundle.refusing import refuse_code
from orchestrator.bundle.rewriting import rewritten
from orchestrator.errors import UserError
from orchestrator.images.fileset import LAYOUT, folder
from orchestrator.images.walking import walk
from orchestrator.intake.reading import beside
from orchestrator.specs.manifests import load_detector, load_models
from orchestrator.specs.matrix import Matrix, is_path, load_matrix
from orchestrator.specs.model import ModelSpec

ELSEWHERE = "elsewhere"
"""The folder of a bundle for what does not lie in the matrix's folder."""
Content = Path | bytes


@dataclass(frozen=True)
class Bundle:
    """What is to be sent.

    Attributes:
        manifest: the list of it.
        contents: a file, or its bytes where it is sent otherwise than it lies here, by sha256.
    """

    manifest: Manifest
    contents: dict[str, Content]


def gather(matrix: Path, on_file: Callable[[int], None] = lambda _: None) -> Bundle:
    """Read a matrix and hash all that it leads to.

    Args:
        matrix: the file.
        on_file: called with the number of files that have been hashed.

    Raises:
        UserError: something is not there, cannot be read or cannot be sent, or the matrix loads
            code that is no part of farm.
    """
    spec = load_matrix(matrix)
    refuse_code([spec])
    models = load_models(spec)
    detector = load_detector(spec)
    manifests = [*models.values(), *([detector] if detector is not None else [])]
    refuse_code(manifests)
    gathering = _Gathering(spec, matrix)
    for each in manifests:
        gathering.take_model(each)
    for found in reached(spec):
        gathering.take(found)
    gathering.take_matrix()
    return gathering.hashed(on_file)


@dataclass
class _Gathering:
    matrix: Matrix
    file: Path
    files: dict[str, Content] = field(default_factory=dict)
    folders: dict[str, None] = field(default_factory=dict)
    moved: dict[tuple[str, str], str] = field(default_factory=dict)
    _count: int = 0

    @property
    def root(self) -> Path:
        return Path(os.path.abspath(self.matrix.folder))

    def inside(self, path: Path) -> str | None:
        """The place of a path within the matrix's folder, None where it lies elsewhere."""
        name = os.path.relpath(os.path.abspath(path), self.root)
        return None if name == ".." or name.startswith("../") else name

    def elsewhere(self, path: Path) -> str:
        """A place for what lies elsewhere."""
        self._count += 1
        return f"{ELSEWHERE}/{self._count}/{os.path.basename(os.path.abspath(path))}"

    def add(self, place: str, content: Content) -> None:
        if problem := path_problem(place):
            raise UserError(
                f"{content if isinstance(content, Path) else place}: its name {problem}"
            )
        self.files[place] = content

    def take_model(self, spec: ModelSpec) -> None:
        """A manifest, its model, the weights beside it, and its quantized file."""
        manifest = Path(spec.source.file)
        place = self.inside(manifest)
        text = manifest.read_text(encoding="utf-8-sig")
        files = [("file", spec.file, spec.path)]
        if spec.quantized is not None:
            files.append(("quantized", spec.quantized.file, spec.quantized_path))
        before = text
        home = place if place is not None else f"models/{manifest.name}"
        for key, name, path in files:
            own = self.inside(path)
            stays = place is not None and own is not None and not os.path.isabs(name)
            target = own if stays and own is not None else self._model_place(spec, key, path)
            self.add(target, path)
            for weights in beside(path):
                self.add(os.path.join(os.path.dirname(target), _below(weights, path)), weights)
            if not stays:
                relative = os.path.relpath(target, os.path.dirname(home))
                text = rewritten(text, key, _in_place_of(name, relative))
        self.add(home, manifest if text == before else text.encode())
        references = [("models", reference) for reference in self.matrix.models]
        for at, reference in (*references, ("test_set", self.matrix.detector_reference)):
            named = is_path(reference) and self.matrix.model_name(reference) == spec.name
            if named and not (place is not None and _is_plain(reference)):
                self._move(at, reference, home)

    def _model_place(self, spec: ModelSpec, key: str, path: Path) -> str:
        return f"models/{spec.name}.{key}/{path.name}"

    def _move(self, key: str, text: str, place: str) -> None:
        self.moved[key, text] = place

    def take(self, found: Reached) -> None:
        """What a key of the matrix leads to."""
        place = self.inside(found.path)
        if place is None:
            place = self.elsewhere(found.path)
        self._move(found.key, str(found.path), place)
        if found.is_list:
            self._take_list(found, place)
        elif found.roots or found.below:
            folder(found.path)
            self.folders[place] = None
            for root in found.roots:
                self._take_folder(root, _joined(place, os.path.relpath(root, found.path)))
            for path in found.below:
                name = os.path.relpath(path, found.path)
                if name.startswith(".."):
                    raise UserError(
                        f"{found.key}: {path} does not lie in {found.path}",
                        "annotations name images below their folder",
                    )
                self.add(_joined(place, name), _readable(path))
        else:
            self.add(place, _readable(found.path))

    def _take_folder(self, root: Path, place: str) -> None:
        if not root.is_dir():
            raise UserError(f"{root.parent}: there is no folder {root.name!r} in it", LAYOUT)
        found = walk(root)
        if found.odd:
            path, why = next(iter(found.odd.items()))
            raise UserError(f"{path}: {why}; it cannot be sent", "take it out of the folder")
        self.folders[place] = None
        for below in found.folders:
            self.folders[_joined(place, os.path.relpath(below, root))] = None
        for path in found.files:
            self.add(_joined(place, os.path.relpath(path, root)), path)

    def _take_list(self, found: Reached, place: str) -> None:
        """A list and its files; those that lie elsewhere get a place and the list their new name.

        Args:
            place: the list's.
        """
        home = os.path.dirname(place)
        new: dict[str, str] = {}
        for path in found.below:
            name = os.path.relpath(path, found.path.parent)
            if os.path.isabs(path) and name.startswith(".."):
                name = ""
            inside = not name.startswith("..") and name != ""
            target = _joined(home, name) if inside else self.elsewhere(path)
            self.add(target, _readable(path))
            new[str(path)] = os.path.relpath(target, home or ".")
        data = found.path.read_bytes()
        self.add(place, _renamed(data, found.path, new))

    def take_matrix(self) -> None:
        """The matrix itself, with the new names of what lies elsewhere."""
        text = before = self.file.read_bytes().decode("utf-8-sig")
        base = self.matrix.folder
        for key in dict.fromkeys(key for key, _ in self.moved):

            def new(value: str, key: str = key) -> str | None:
                known = self.moved.get((key, value))
                if known is None:
                    known = self.moved.get((key, str(base / Path(value).expanduser())))
                    if known is not None and _is_plain(value):
                        return None  # it lies where the matrix says
                return known

            text = rewritten(text, key, new)
        self.add(self.file.name, self.file if text == before else text.encode())

    def hashed(self, on_file: Callable[[int], None]) -> Bundle:
        """All of it, with hashes."""
        entries, contents = [], dict[str, Content]()
        for number, (place, content) in enumerate(self.files.items(), 1):
            sha256, size = _hash(content)
            entries.append(Entry(place, sha256, size))
            contents[sha256] = content
            on_file(number)
        above = {parent for entry in entries for parent in _above(entry.path)}
        empty = tuple(name for name in self.folders if name not in above and name != ".")
        return Bundle(Manifest(self.file.name, tuple(entries), empty), contents)


def _in_place_of(old: str, new: str) -> Callable[[str], str | None]:
    return lambda value: new if value == old else None


def _is_plain(value: str) -> bool:
    """Whether a path, as it is written, stays within the folder of the file that names it."""
    return not os.path.isabs(value) and not value.startswith("~") and ".." not in Path(value).parts


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _joined(place: str, name: str) -> str:
    return os.path.normpath(os.path.join(place, name))


def _below(weights: Path, model: Path) -> str:
    return os.path.relpath(weights, model.parent)


def _readable(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    return path


def _renamed(data: bytes, path: Path, new: dict[str, str]) -> bytes:
    """A list's bytes with the new names of its files; the same bytes where none has a new one."""
    text = data.decode("utf-8-sig")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    rows, changed = list(reader), False
    for row in rows:
        name = new[str(path.parent / row["file"])]
        if os.path.normpath(row["file"]) != name:
            row["file"], changed = name, True
    if not changed:
        return data
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, reader.fieldnames or [])
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def _hash(content: Content) -> tuple[str, int]:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest(), len(content)
    try:
        with open(content, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            return found, file.seek(0, os.SEEK_END)
    except OSError as error:
        raise UserError(f"{content}: cannot be read: {error.strerror or error}") from None
