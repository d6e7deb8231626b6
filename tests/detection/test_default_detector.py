"""The detector that comes with farm finds the faces of scenes that it was not trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from orchestrator.calibration import preprocess
from orchestrator.detection import (
    DetectionPolicy,
    Detections,
    DetectorSpec,
    Output,
    detect,
    evaluate,
    letterbox,
    recognized,
)
from orchestrator.images.scenes import SceneSet
from orchestrator.specs.model import load_model
from orchestrator.specs.scenes import ScenesSet

MODEL = Path(__file__).parents[2] / "models" / "synthdet.onnx"
SIZE, STD = (240, 320), 128.0
NAMES = tuple(f"{part}_{stride}" for part in ("score", "bbox", "kps") for stride in (8, 16, 32))


@pytest.fixture(scope="module")
def session() -> ort.InferenceSession:
    return ort.InferenceSession(MODEL)


@pytest.fixture(scope="module")
def spec(session: ort.InferenceSession) -> DetectorSpec:
    outputs = [Output(o.name, (1, *o.shape[1:])) for o in session.get_outputs()]
    head, names = recognized(outputs, SIZE)
    assert (head.name, names) == ("scrfd", NAMES)
    return DetectorSpec(head.name, tuple(sorted(outputs, key=lambda o: names.index(o.name))), SIZE)


def found(session: ort.InferenceSession, spec: DetectorSpec, image: np.ndarray) -> Detections:
    x = preprocess(letterbox(image, SIZE)[None], std=STD)
    row = np.concatenate([part.ravel() for part in session.run(list(NAMES), {"input": x})])
    return detect(row, spec, image.shape[:2])


def test_its_manifest_says_what_the_file_has() -> None:
    manifest = load_model(MODEL.with_suffix(".yaml"))
    assert manifest.task == "detection"
    assert manifest.detection is not None
    assert (manifest.detection.head, manifest.detection.outputs) == ("scrfd", NAMES)
    assert (manifest.input.size, manifest.input.std) == (SIZE, (STD,) * 3)
    assert MODEL.stat().st_size < 1_000_000


@pytest.mark.slow
def test_it_finds_unseen_faces(session: ort.InferenceSession, spec: DetectorSpec) -> None:
    scenes = SceneSet(ScenesSet(images=9, first_image=700_000))
    boxes = [found(session, spec, scenes.image(k)) for k in range(len(scenes))]
    figures = evaluate(boxes, scenes.truth, DetectionPolicy(bootstrap=10))
    assert figures.faces > 25
    assert figures.ap["medium"].value > 0.95
    assert figures.ap["hard"].value > 0.9
    assert figures.landmark_error.value < 0.1


def test_no_face_is_found_where_none_is(session: ort.InferenceSession, spec: DetectorSpec) -> None:
    for level in (0, 128, 255):
        flat = np.full((480, 640, 3), level, np.uint8)
        assert not (found(session, spec, flat).scores > 0.3).any()
