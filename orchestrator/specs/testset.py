"""Which faces are enrolled and searched for, and which ones calibrate.

Rendered identities are numbers. 0 to 999,999 are for tests; the default models were trained on
numbers from 1,000,000; calibration takes numbers from 2,000,000: no face serves two ends.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from orchestrator.specs.base import Spec, wrong
from orchestrator.specs.meaning import Means

FIRST_TRAINING_ID = 1_000_000
FIRST_CALIBRATION_ID = 2_000_000
LAST_ID = 2**31


class Population(Spec):
    """Rendered people.

    The gallery is `identities` + `distractors` images (shot 0); the probes are shot 1 of each of
    the `identities` (mated), and `unknown` images of identities that are not enrolled.
    """

    seed: int = Field(0, ge=0, lt=2**31)
    identities: int = Field(ge=1)
    distractors: int = Field(0, ge=0)
    unknown: int = Field(0, ge=0)
    difficulty: float = Field(1.5, ge=0, le=4, allow_inf_nan=False)
    first_identity: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _disjoint(self) -> Population:
        if self.end > FIRST_TRAINING_ID:
            raise wrong(
                f"identities up to {self.end - 1:,} are asked for; those from "
                f"{FIRST_TRAINING_ID:,} served for training, so a test must stay below"
            )
        return self

    @property
    def end(self) -> int:
        """One past the last identity number."""
        return self.first_identity + self.identities + self.distractors + self.unknown


class RenderedSet(Population):
    """Rendered faces, aligned; gallery and probes are as `Population` says."""

    source: Literal["rendered"] = "rendered"


def _path(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, str) and value:
        path = Path(value).expanduser()
        base = (info.context or {}).get("base")
        return path if base is None else Path(base) / path
    return value


SetPath = Annotated[Path, BeforeValidator(_path), Means.PATH]


class FolderSet(Spec):
    """The user's own aligned faces, all of the size that the model wants.

    `folder`: images lie in `<path>/gallery/<identity>/` and `<path>/probe/<identity>/`.
    `list`: `<path>` is a CSV file with the columns file, identity, role (gallery or probe).
    Probes whose identity is not in the gallery are unknown probes. `skip_unreadable` leaves out
    what cannot be taken and says so in every table; without it such files are refused.
    `allow_leaks` lets a set pass whose images stand in several roles or under several identities;
    every table then says so.
    """

    source: Literal["folder", "list"]
    path: SetPath
    skip_unreadable: bool = False
    allow_leaks: bool = False


class RenderedCalibration(Spec):
    """Rendered faces, one an identity, from `first_identity` on."""

    source: Literal["rendered"] = "rendered"
    images: int = Field(200, ge=1, le=100_000)
    seed: int = Field(0, ge=0, lt=2**31)
    difficulty: float = Field(1.5, ge=0, le=4, allow_inf_nan=False)
    first_identity: int = Field(FIRST_CALIBRATION_ID, ge=FIRST_CALIBRATION_ID, lt=LAST_ID)


class FolderCalibration(Spec):
    """The user's own aligned faces: any images below a folder, or the column file of a CSV list.

    The first `images` of them in sorted order; all of them when `images` is left out. `allow_leaks`
    lets images of the test set calibrate; every table then says so.
    """

    source: Literal["folder", "list"]
    path: SetPath
    images: int | None = Field(None, ge=1, le=100_000)
    skip_unreadable: bool = False
    allow_leaks: bool = False
