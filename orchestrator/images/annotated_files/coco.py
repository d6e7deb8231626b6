"""COCO's JSON: boxes as x, y, width, height; keypoints, where a face has five of them.

Source of the format: cocodataset.org, "Data format": `images` with id, file_name, height and width;
`annotations` with image_id, bbox, iscrowd and keypoints (x, y, visibility; 0 is not labelled).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.detection.boxes import POINTS
from orchestrator.errors import UserError
from orchestrator.images.annotated_files.file_set import AnnotatedFiles, Face, Photo, file_set


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class _Image(_Part):
    id: int
    file_name: str = Field(min_length=1)
    height: int | None = None
    width: int | None = None


class _Annotation(_Part):
    id: int = 0
    image_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0
    category_id: int | None = None
    keypoints: tuple[float, ...] = ()


class _Category(_Part):
    id: int
    name: str


class _Coco(_Part):
    images: list[_Image] = Field(min_length=1)
    annotations: list[_Annotation]
    categories: list[_Category] = []


def read_coco(images: Path, annotations: Path, category: str | None = None) -> AnnotatedFiles:
    """Read annotated photos; all faces are one subset, `all`.

    Args:
        images: the folder that `file_name` is relative to.
        annotations: the JSON file.
        category: of the annotations that are faces; needed where the file has several.

    Raises:
        UserError: what cannot be read or does not fit together.
    """
    data = _read(annotations)
    wanted = _category(data, category, annotations)
    faces: dict[int, list[Face]] = {image.id: [] for image in data.images}
    if len(faces) != len(data.images):
        raise UserError(f"{annotations}: two images have one id")
    for number, each in enumerate(data.annotations):
        where = f"{annotations}: annotation {each.id or number + 1}"
        if wanted is not None and each.category_id != wanted:
            continue
        if each.image_id not in faces:
            raise UserError(f"{where}: there is no image {each.image_id}")
        faces[each.image_id].append(_face(each, where))

    def photos() -> Iterator[Photo]:
        for image in data.images:
            mine = faces[image.id]
            yield Photo(image.file_name, mine, {"all": np.ones(len(mine), np.bool_)})

    found = file_set(images, photos(), ("all",), str(annotations))
    for image, truth in zip(data.images, found.truth.images, strict=True):
        said = (image.height, image.width)
        if None not in said and said != truth.size:
            raise UserError(
                f"{annotations}: {image.file_name} has {image.width} x {image.height} pixels "
                f"there, and {truth.size[1]} x {truth.size[0]} in {images}: the boxes are of "
                "another image"
            )
    return found


def named_files(annotations: Path) -> list[str]:
    """The images that a file of annotations names.

    Raises:
        UserError: it cannot be read.
    """
    return [image.file_name for image in _read(annotations).images]


def _read(path: Path) -> _Coco:
    try:
        plain: Any = json.loads(path.read_bytes())
        return _Coco.model_validate(plain)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{path}: {place}: {first['msg'].lower()}") from error
    except ValueError as error:  # JSON and its encoding
        raise UserError(f"{path} is no JSON: {error}") from error


def _category(data: _Coco, name: str | None, path: Path) -> int | None:
    names = {each.name: each.id for each in data.categories}
    if name is None and len(names) < 2:
        return None
    if name not in names:
        asked = "say which category is faces" if name is None else f"there is no category {name!r}"
        raise UserError(f"{path}: {asked}; it has {', '.join(sorted(names)) or 'none'}")
    return names[name]


def _face(each: _Annotation, where: str) -> Face:
    x, y, width, height = each.bbox
    if each.keypoints and len(each.keypoints) != 3 * POINTS:
        raise UserError(
            f"{where}: {len(each.keypoints)} numbers of keypoints, expected {3 * POINTS}"
        )
    points: list[float] = []
    for start in range(0, len(each.keypoints), 3):
        px, py, visibility = each.keypoints[start : start + 3]
        points += [px, py] if visibility else [float("nan")] * 2
    return Face(where, (x, y, x + width, y + height), bool(each.iscrowd), tuple(points))
