"""Scenes as a test set and as calibration."""

import pytest
from pydantic import ValidationError

from orchestrator.specs.scenes import ScenesCalibration, ScenesSet


def test_what_is_left_out():
    spec = ScenesSet()
    assert (spec.images, spec.seed, spec.size, spec.difficulty) == (300, 0, (240, 320), 1.0)
    assert ScenesCalibration().first_image == 2_000_000


def test_a_list_is_a_size():
    assert ScenesSet.model_validate({"size": [480, 640]}).size == (480, 640)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"size": [32, 320]}, "64 to 2048 pixels each, not 32 x 320"),
        ({"images": 2, "first_image": 999_999}, "served for training"),
        ({"images": 0}, "greater than or equal to 1"),
        ({"difficulty": 5.0}, "less than or equal to 4"),
    ],
)
def test_what_is_refused(values, words):
    with pytest.raises(ValidationError, match=words):
        ScenesSet.model_validate(values)


def test_calibration_takes_no_test_scene():
    with pytest.raises(ValidationError):
        ScenesCalibration(first_image=0)
