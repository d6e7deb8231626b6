"""Folders of rendered faces, spoilt in one respect each."""

from __future__ import annotations

import io
import shutil
from functools import cache
from pathlib import Path

from PIL import Image

from orchestrator.images import render
from tests.audit import numbers


def write(path: Path, identity: int, shot: int, **save: object) -> Path:
    """One rendered face as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(saved(identity, shot, path.suffix, **save))
    return path


@cache
def saved(identity: int, shot: int, suffix: str, **save: object) -> bytes:
    """The bytes of such a file, which most tests of this folder want of the same faces."""
    out = io.BytesIO()
    face = Image.fromarray(render(*numbers(identity, shot), 0, 1.0)[0])
    face.save(out, Image.registered_extensions()[suffix], **save)
    return out.getvalue()


def clean_set(folder: Path, enrolled: int = 6, unknown: int = 3) -> Path:
    """gallery/ and probe/ with one image an identity, none of them alike."""
    for who in range(enrolled):
        write(folder / f"gallery/p{who}/0.png", who, 0)
        write(folder / f"probe/p{who}/1.png", who, 1)
    for who in range(enrolled, enrolled + unknown):
        write(folder / f"probe/p{who}/1.png", who, 1)
    return folder


def copy(source: Path, target: Path) -> None:
    """The same bytes under another name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def again(source: Path, target: Path, **save: object) -> None:
    """The same picture, saved anew; `quality` and `scale` lose some of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        scale = save.pop("scale", None)
        if isinstance(scale, float):
            size = image.size
            small = image.resize((round(size[0] * scale), round(size[1] * scale)))
            small.resize(size).save(target, **save)
        else:
            image.save(target, **save)
