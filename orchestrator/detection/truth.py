"""Where the faces of a set of images really are, and which of them count."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from orchestrator.detection.boxes import POINTS, Floats
from orchestrator.detection.errors import DetectionError

_FIELDS = ("names", "sizes", "counts", "boxes", "points", "ignored", "subsets", "members")


@dataclass(frozen=True, eq=False)
class Truth:
    """The faces of one image.

    Attributes:
        name: what to call the image in messages; its file below the images' folder.
        size: height, width of the original image in pixels.
        boxes: float32 (n, 4), x1, y1, x2, y2 in pixels of the original image.
        points: float32 (n, 5, 2), in the order of `Detections.points`; NaN where unknown.
        ignored: bool (n,), faces that count neither way in any subset (invalid, too small, a
            crowd): finding one is no error, missing one is none.
        subsets: for each subset bool (n,), the faces that count in it; it ignores the others.
    """

    name: str
    size: tuple[int, int]
    boxes: Floats
    points: Floats
    ignored: NDArray[np.bool_]
    subsets: Mapping[str, NDArray[np.bool_]]

    def __post_init__(self) -> None:
        count = len(self.boxes)
        wanted = {"boxes": (count, 4), "points": (count, POINTS, 2), "ignored": (count,)}
        found = {name: getattr(self, name).shape for name in wanted}
        found |= {name: mask.shape for name, mask in self.subsets.items()}
        wanted |= dict.fromkeys(self.subsets, (count,))
        for name, shape in wanted.items():
            if found[name] != shape:
                raise DetectionError(
                    f"{self.name}: {name} of {count} faces has the shape {shape}, not {found[name]}"
                )
        height, width = self.size
        for number, box in enumerate(self.boxes.tolist()):
            problem = box_problem(box, height, width)
            if problem and not self.ignored[number]:
                raise DetectionError(f"{self.name}: face {number + 1}: {problem}")

    def __len__(self) -> int:
        """Number of faces, ignored ones included."""
        return len(self.boxes)


def box_problem(box: list[float], height: int, width: int) -> str:
    """Why a box (x1, y1, x2, y2) cannot be a face of an image; empty where it can.

    A box may reach beyond the image, as annotated faces at its edge do, but not lie outside.
    """
    x1, y1, x2, y2 = box
    shown = f"the box from ({x1:g}, {y1:g}) to ({x2:g}, {y2:g})"
    if not np.isfinite(box).all():
        return f"{shown} has no finite corners"
    if x2 <= x1 or y2 <= y1:
        return f"{shown} has no area"
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        return f"{shown} lies outside the image of {width} x {height} pixels"
    return ""


@dataclass(frozen=True, eq=False)
class TruthSet:
    """The faces of a set of images.

    Attributes:
        images: one truth an image, in the set's order.
        subsets: names in the table's order: ("easy", "medium", "hard"), or ("all",).
    """

    images: tuple[Truth, ...]
    subsets: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.subsets:
            raise DetectionError("a truth needs one subset of faces at least, such as 'all'")
        for image in self.images:
            if set(image.subsets) != set(self.subsets):
                raise DetectionError(
                    f"{image.name}: it has the subsets {sorted(image.subsets)}, "
                    f"the set has {sorted(self.subsets)}"
                )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def save(self, file: Path | BinaryIO) -> None:
        """Write one .npz file; equal sets give equal bytes."""
        images = self.images
        counts = np.array([len(image) for image in images], np.int64)
        members = [np.stack([image.subsets[name] for name in self.subsets]) for image in images]
        with contextlib.ExitStack() as opened:
            stream = opened.enter_context(file.open("wb")) if isinstance(file, Path) else file
            np.savez(
                stream,
                names=np.array([image.name for image in images], np.str_),
                sizes=np.array([image.size for image in images], np.int64).reshape(-1, 2),
                counts=counts,
                boxes=_joined([image.boxes for image in images], (0, 4), np.float32),
                points=_joined([image.points for image in images], (0, POINTS, 2), np.float32),
                ignored=_joined([image.ignored for image in images], (0,), np.bool_),
                subsets=np.array(self.subsets, np.str_),
                members=(
                    np.concatenate(members, 1)
                    if members
                    else np.zeros((len(self.subsets), 0), np.bool_)
                ),
            )

    @classmethod
    def load(cls, path: Path) -> TruthSet:
        """Read what `save` wrote.

        Raises:
            DetectionError: the file is no such truth.
            OSError: it cannot be read.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                data = {name: stored[name] for name in _FIELDS}
            subsets = tuple(data["subsets"].tolist())
            ends = np.cumsum(data["counts"]).tolist()
            images = []
            for number, end in enumerate(ends):
                part = slice(end - int(data["counts"][number]), end)
                height, width = data["sizes"][number].tolist()
                images.append(
                    Truth(
                        name=str(data["names"][number]),
                        size=(height, width),
                        boxes=data["boxes"][part],
                        points=data["points"][part],
                        ignored=data["ignored"][part],
                        subsets=dict(zip(subsets, data["members"][:, part], strict=True)),
                    )
                )
            return cls(tuple(images), subsets)
        except (ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
            raise DetectionError(f"{path}: not a stored truth: {error}") from error


def _joined(
    parts: list[NDArray[np.generic]] | list[Floats] | list[NDArray[np.bool_]],
    empty: tuple[int, ...],
    kind: type[np.generic],
) -> NDArray[np.generic]:
    return np.concatenate([np.zeros(empty, kind), *parts]).astype(kind)
