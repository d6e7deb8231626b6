"""Every text of a specification says what it leads to, so that a new key cannot be forgotten."""

from __future__ import annotations

import pytest

from orchestrator.specs.base import Spec
from orchestrator.specs.matrix import Matrix
from orchestrator.specs.meaning import Code, Means, Word, field_meanings, leaves, parts
from orchestrator.specs.model import ModelSpec

TEXTS = [
    (part, name)
    for part in sorted(parts(Matrix) | parts(ModelSpec), key=lambda part: part.__name__)
    for name in part.model_fields
    if field_meanings(part, name)
]


@pytest.mark.parametrize(("part", "name"), TEXTS, ids=[f"{p.__name__}.{n}" for p, n in TEXTS])
def test_every_text_says_what_it_leads_to(part: type[Spec], name: str) -> None:
    found = field_meanings(part, name)
    assert len(found) == 1, "write its type as Word, or as Annotated[str, Means...] or Code(...)"
    assert None not in found


def test_what_loads_code_or_files_is_known() -> None:
    """Whoever adds a key here also looks at `orchestrator/bundle`, which sends and refuses them."""
    found = {f"{part.__name__}.{name}": field_meanings(part, name).pop() for part, name in TEXTS}
    assert {key for key, each in found.items() if isinstance(each, Code)} == {
        "Entry.toolchain",
        "DetectionPart.head",
    }
    assert {key for key, each in found.items() if each is Means.MANIFEST} == {
        "Matrix.models",
        "PhotosSet.detector",
        "RenderedPhotosSet.detector",
    }
    assert {key for key, each in found.items() if each is Means.BESIDE} == {
        "ModelSpec.file",
        "QuantizedFile.file",
    }
    assert {key for key, each in found.items() if each is Means.PATH} == {
        "FolderSet.path",
        "FolderCalibration.path",
        "PhotosSet.path",
        "WiderSet.images",
        "WiderSet.truth",
        "WiderLists.easy",
        "WiderLists.medium",
        "WiderLists.hard",
        "CocoSet.images",
        "CocoSet.annotations",
    }


class Part(Spec):
    word: Word
    other: str
    several: tuple[str | int, ...] = ()


class Whole(Spec):
    part: Part
    parts: dict[str, Part]


def test_a_text_that_says_nothing_is_found_in_every_depth() -> None:
    part = Part(word="a", other="b", several=("c", 1))
    found = {leaf.place: leaf.meaning for leaf in leaves(Whole(part=part, parts={"x": part}))}
    assert found == {
        ("part", "word"): Means.WORD,
        ("part", "other"): None,
        ("part", "several", 0): None,
        ("parts", "x", "word"): Means.WORD,
        ("parts", "x", "other"): None,
        ("parts", "x", "several", 0): None,
    }
