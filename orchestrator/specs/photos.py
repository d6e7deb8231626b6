"""Test sets of photos: a detector finds and aligns the faces that are recognized."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from orchestrator.specs.base import Spec
from orchestrator.specs.meaning import Means
from orchestrator.specs.scenes import SceneSize
from orchestrator.specs.testset import Population, SetPath

ALIGNING = 2
"""Raised whenever the same photo and detector would give another aligned face."""

_LEAST_SCORE = 0.5


class PhotosSet(Spec):
    """The user's own photos, from which a detector takes and aligns the faces.

    Photos lie in `<path>/gallery/<identity>/` and `<path>/probe/<identity>/`, of any size.
    `detector` is a detector's manifest, by name or path. It runs in float32 on this host, for rows
    whose entry says nothing else (`detector:` of an entry). The largest face of a photo is taken; a
    photo in which no box reaches `min_score` is a failure to acquire and counts as a miss.
    `skip_unreadable` and `allow_leaks` are as for a folder.
    """

    source: Literal["photos"] = "photos"
    path: SetPath
    detector: Annotated[str, Means.MANIFEST] = Field(min_length=1)
    min_score: float = Field(_LEAST_SCORE, gt=0, lt=1, allow_inf_nan=False)
    skip_unreadable: bool = False
    allow_leaks: bool = False


class RenderedPhotosSet(Population):
    """Rendered photos of one person each, from which a detector takes and aligns the faces.

    `size` is [height, width] in pixels; `detector` and `min_score` are as for `photos`, the other
    keys as for `rendered`.
    """

    source: Literal["rendered_photos"] = "rendered_photos"
    difficulty: float = Field(1.0, ge=0, le=4, allow_inf_nan=False)
    size: SceneSize = (240, 320)
    detector: Annotated[str, Means.MANIFEST] = Field(min_length=1)
    min_score: float = Field(_LEAST_SCORE, gt=0, lt=1, allow_inf_nan=False)


AnyPhotos = PhotosSet | RenderedPhotosSet
"""Test sets that a detector has to find the faces in."""
