"""Photos with annotated faces, to test detectors with: WIDER FACE's own files, and COCO's JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from orchestrator.specs.base import Spec
from orchestrator.specs.meaning import Word
from orchestrator.specs.testset import SetPath


class WiderLists(Spec):
    """The evaluation's lists of the faces that count: `wider_easy_val.mat` and so on."""

    easy: SetPath
    medium: SetPath
    hard: SetPath


class WiderSet(Spec):
    """WIDER FACE, or photos of one's own in its format.

    `images` is the folder with the event folders (`WIDER_val/images`), `truth` the text with all
    boxes (`wider_face_val_bbx_gt.txt`). Without `lists` there is one subset of faces, `all`.
    """

    source: Literal["wider"] = "wider"
    images: SetPath
    truth: SetPath
    lists: WiderLists | None = None


class CocoSet(Spec):
    """Photos with annotations in COCO's JSON; `images` is the folder that `file_name` is below.

    `category` names the annotations that are faces; needed where the file has several.
    """

    source: Literal["coco"] = "coco"
    images: SetPath
    annotations: SetPath
    category: Word | None = Field(None, min_length=1)
