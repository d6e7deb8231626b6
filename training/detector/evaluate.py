"""A detector's figures on rendered scenes: python evaluate.py MODEL.onnx [SCENES] [FIRST]

Float32 and two int8 schemes of farm's own onnxruntime toolchain, by farm's own detection library;
test scenes from number FIRST (0), never those of training. Needs farm, but no torch.
"""

import sys
from pathlib import Path

import numpy as np

from orchestrator.calibration import calibrate, preprocess
from orchestrator.detection import (
    DetectionPolicy,
    Detections,
    DetectorSpec,
    Output,
    TruthSet,
    detect,
    evaluate,
    letterbox,
    recognized,
)
from orchestrator.graphs.sessions import faithful_session
from orchestrator.images.scenes import SceneSet
from orchestrator.scoring import Estimate
from orchestrator.specs.scenes import ScenesCalibration, ScenesSet
from orchestrator.toolchains import Scheme, toolchain

SIZE, STD, CALIBRATION = (240, 320), 128.0, 100
SCHEMES = (
    Scheme("int8", "per-channel", "symmetric", "minmax"),
    Scheme("uint8", "per-tensor", "asymmetric", "minmax"),
)
Images = np.ndarray  # uint8 (n, h, w, 3)


def found_by(model: bytes, images: Images, truth: TruthSet) -> list[Detections]:
    """What a model finds in each image, one image at a time as on a board."""
    session = faithful_session(model)
    shapes = [Output(o.name, (1, *o.shape[1:])) for o in session.get_outputs()]
    head, names = recognized(shapes, SIZE)
    ordered = tuple(next(o for o in shapes if o.name == name) for name in names)
    spec = DetectorSpec(head.name, ordered, SIZE)
    found = []
    for image, each in zip(images, truth.images, strict=True):
        x = preprocess(letterbox(image, SIZE)[None], std=STD)
        row = np.concatenate([part.ravel() for part in session.run(list(names), {"input": x})])
        found.append(detect(row, spec, each.size))
    return found


def shown(figure: Estimate) -> str:
    """A figure with its interval."""
    return f"{figure.value:.4f} ({figure.low:.4f}-{figure.high:.4f})"


def report(label: str, model: bytes, images: Images, truth: TruthSet) -> None:
    """Print one model's figures."""
    figures = evaluate(found_by(model, images, truth), truth, DetectionPolicy())
    print(f"{label}, {len(model):,} bytes, {figures.images} scenes, {figures.faces} faces")
    for name, figure in figures.ap.items():
        print(f"  AP {name}: {shown(figure)}")
    for name, figure in figures.ap_by_height.items():
        print(f"  AP {name}: {shown(figure)}")
    for rate, figure in figures.recall.items():
        print(f"  recall at {rate:g} false positives an image: {shown(figure)}")
    print(f"  landmark error (NME): {shown(figures.landmark_error)}", flush=True)


def main(path: str, scenes: int, first: int) -> None:
    """Evaluate float32 and each scheme."""
    test = SceneSet(ScenesSet(images=scenes, first_image=first))
    images = np.stack([test.image(k) for k in range(scenes)])
    model = Path(path).read_bytes()
    report("float32", model, images, test.truth)
    drawn = SceneSet(ScenesCalibration(images=CALIBRATION))
    pictures = np.stack([drawn.image(k) for k in range(CALIBRATION)])
    table = calibrate(model, [preprocess(x[None], std=STD) for x in pictures])
    chain = toolchain("onnxruntime")
    for scheme in SCHEMES:
        data = chain.convert(chain.quantize(model, table, scheme).data).data
        label = f"{scheme.dtype} {scheme.granularity} {scheme.symmetry}"
        report(label, data, images, test.truth)


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[2:]]
    main(sys.argv[1], *(numbers + [300, 0][len(numbers) :]))
