"""Rendered scenes for detection: faces in backgrounds, to test with and to calibrate with.

Scenes are numbers, as rendered faces are: 0 to 999,999 are for tests; the default detector was
trained on numbers from 1,000,000; calibration takes numbers from 2,000,000. A scene's faces have
identity numbers of the same range, so no face serves two ends either.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from orchestrator.specs.base import Spec, wrong
from orchestrator.specs.testset import FIRST_CALIBRATION_ID, FIRST_TRAINING_ID, LAST_ID

SMALLEST_SIDE, LARGEST_SIDE = 64, 2048


def _sides(value: tuple[int, int]) -> tuple[int, int]:
    if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in value):
        raise wrong(
            f"a scene's height and width are {SMALLEST_SIDE} to {LARGEST_SIDE} pixels each, "
            f"not {value[0]} x {value[1]}"
        )
    return value


SceneSize = Annotated[tuple[int, int], AfterValidator(_sides), Field(strict=False)]
"""[height, width] in pixels."""


class ScenesSet(Spec):
    """Rendered scenes with 0 to 20 faces each, their boxes and five points.

    `size` is [height, width] in pixels. `difficulty` scales how much pose, occlusion, blur, light
    and noise vary; 0 is none.
    """

    source: Literal["scenes"] = "scenes"
    images: int = Field(300, ge=1)
    seed: int = Field(0, ge=0, lt=2**31)
    size: SceneSize = (240, 320)
    difficulty: float = Field(1.0, ge=0, le=4, allow_inf_nan=False)
    first_image: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _disjoint(self) -> ScenesSet:
        if self.first_image + self.images > FIRST_TRAINING_ID:
            raise wrong(
                f"scenes up to {self.first_image + self.images - 1:,} are asked for; those from "
                f"{FIRST_TRAINING_ID:,} served for training, so a test must stay below"
            )
        return self


class ScenesCalibration(Spec):
    """Rendered scenes from `first_image` on; keys as in a test set of scenes."""

    source: Literal["scenes"] = "scenes"
    images: int = Field(100, ge=1, le=100_000)
    seed: int = Field(0, ge=0, lt=2**31)
    size: SceneSize = (240, 320)
    difficulty: float = Field(1.0, ge=0, le=4, allow_inf_nan=False)
    first_image: int = Field(FIRST_CALIBRATION_ID, ge=FIRST_CALIBRATION_ID, lt=LAST_ID)
