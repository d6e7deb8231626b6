"""Decoders: known boxes through the inverse formula and back."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.detection.decode import DetectorSpec, detect, split
from orchestrator.detection.errors import DetectionError
from orchestrator.detection.heads.head import Output, cells
from orchestrator.detection.heads.priors import prior_boxes
from orchestrator.detection.heads.registry import HEADS, recognized
from orchestrator.detection.heads.retinaface import SIDES

SIZE = (240, 320)
BOX = np.array([100.0, 60.0, 150.0, 130.0])
MARKS = np.array([[113, 85], [137, 84], [125, 100], [115, 115], [135, 114.0]])
SCORE = 0.9


def shapes(name: str, points: bool = True) -> list[Output]:
    """A model's outputs in the decoder's order."""
    counts = [int(np.prod(cells(SIZE, stride))) for stride in (8, 16, 32)]
    priors = sum(2 * count for count in counts)
    plane = cells(SIZE, 4)
    if name == "scrfd":
        widths = (1, 4, 10) if points else (1, 4)
        return [Output(f"o{w}_{i}", (2 * n, w)) for w in widths for i, n in enumerate(counts)]
    if name == "yunet":
        parts = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
        strides = zip((8, 16, 32), counts, strict=True)
        levels = list(strides)
        return [Output(f"{p}_{s}", (1, n, w)) for p, w in parts.items() for s, n in levels]
    if name == "retinaface":
        return [Output(f"r{w}", (1, priors, w)) for w in (4, 2, 10)]
    if name == "centerface":
        return [Output(f"c{i}", (1, c, *plane)) for i, c in enumerate((1, 2, 2, 10))]
    count = sum(int(np.prod(cells(SIZE, s))) * n for s, n in {8: 3, 16: 2, 32: 2, 64: 3}.items())
    return [Output("scores", (1, count, 2)), Output("boxes", (1, count, 4))]


def encoded(name: str) -> list[np.ndarray]:
    """Outputs in which BOX and MARKS stand once, by the inverse of each head's formula."""
    outputs = [np.zeros(o.shape, np.float32) for o in shapes(name)]
    width, height = BOX[2:] - BOX[:2]
    centre = (BOX[:2] + BOX[2:]) / 2
    if name in ("scrfd", "yunet"):
        stride, level = 16, 1
        column, row = (centre // stride).astype(int)
        number = row * cells(SIZE, stride)[1] + column
        cell = np.array([column, row])
    if name == "scrfd":
        at, place = 2 * number + 1, cell * stride
        outputs[level][at] = SCORE
        outputs[3 + level][at] = np.concatenate([place - BOX[:2], BOX[2:] - place]) / stride
        outputs[6 + level][at] = ((MARKS - place) / stride).reshape(-1)
    elif name == "yunet":
        outputs[level][0, number], outputs[3 + level][0, number] = SCORE, SCORE
        sides = np.log(np.array([width, height]) / stride)
        outputs[6 + level][0, number] = [*(centre / stride - cell), *sides]
        outputs[9 + level][0, number] = (MARKS / stride - cell).reshape(-1)
    elif name == "retinaface":
        priors = prior_boxes(SIZE, SIDES)
        at = int(np.argmin(np.abs(priors[:, :2] - centre).sum(1) + np.abs(priors[:, 2] - 64)))
        place, side = priors[at, :2], priors[at, 2]
        moved = (centre - place) / side / 0.1
        outputs[0][0, at] = [*moved, *(np.log(np.array([width, height]) / side) / 0.2)]
        outputs[1][0, at] = [1 - SCORE, SCORE]
        outputs[2][0, at] = ((MARKS - place) / side / 0.1).reshape(-1)
    elif name == "centerface":
        column, row = (centre // 4).astype(int)
        outputs[0][0, 0, row, column] = SCORE
        outputs[1][0, :, row, column] = np.log(np.array([height, width]) / 4)
        outputs[2][0, :, row, column] = (centre / 4 - [column, row] - 0.5)[::-1]
        outputs[3][0, :, row, column] = ((MARKS - BOX[:2]) / [width, height])[:, ::-1].reshape(-1)
    else:
        outputs[0][0, 77] = [1 - SCORE, SCORE]
        outputs[1][0, 77] = BOX / [SIZE[1], SIZE[0], SIZE[1], SIZE[0]]
    return outputs


@pytest.mark.parametrize("name", HEADS)
def test_a_box_is_found_where_it_was_put(name: str) -> None:
    found = HEADS[name].decode(encoded(name), SIZE, 0.5)
    assert len(found) == 1
    assert found.scores[0] == pytest.approx(SCORE)
    np.testing.assert_allclose(found.boxes[0], BOX, atol=1e-3)
    assert (found.points is not None) == HEADS[name].has_points(len(shapes(name)))
    if found.points is not None:
        np.testing.assert_allclose(found.points[0], MARKS, atol=1e-3)


@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_recognized_whatever_the_order_of_its_outputs(name: str) -> None:
    outputs = shapes(name)
    wanted = tuple(o.name for o in outputs)
    head, names = recognized(outputs, SIZE)
    assert (head.name, names) == (name, wanted)
    if name != "centerface":  # its scale and offset differ by their order alone
        assert recognized(outputs[::-1], SIZE)[1] == wanted
    with pytest.raises(DetectionError, match="no known detection head"):
        recognized(outputs, (256, 256))
    with pytest.raises(DetectionError, match="no known detection head"):
        recognized(outputs[:-1], SIZE)


def test_scrfd_without_points() -> None:
    outputs = shapes("scrfd", points=False)
    assert recognized(outputs, SIZE)[0].name == "scrfd"
    assert not HEADS["scrfd"].has_points(6)
    assert HEADS["scrfd"].decode(encoded("scrfd")[:6], SIZE, 0.5).points is None


@pytest.mark.parametrize("name", HEADS)
def test_outputs_of_another_size_are_refused(name: str) -> None:
    outputs = encoded(name)
    with pytest.raises(DetectionError, match=r"expected|outputs"):
        HEADS[name].decode(outputs, (256, 256), 0.5)
    with pytest.raises(DetectionError, match=f"not {len(outputs) - 1}"):
        HEADS[name].decode(outputs[:-1], SIZE, 0.5)


def test_a_row_becomes_boxes_of_the_original_image() -> None:
    outputs = encoded("scrfd")
    spec = DetectorSpec("scrfd", tuple(shapes("scrfd")), SIZE)
    row = np.concatenate([o.reshape(-1) for o in outputs])
    for output, part in zip(outputs, split(row, spec), strict=True):
        np.testing.assert_array_equal(part, output)
    found = detect(row, spec, (960, 640))  # the height decides: 240 / 960
    np.testing.assert_allclose(found.boxes, [BOX * 4])
    assert found.points is not None
    np.testing.assert_allclose(found.points, [MARKS * 4], rtol=1e-5)
    assert len(detect(row, spec, (240, 90))) == 0  # it lies in the zeros beside the image
    row[5] = np.nan
    with pytest.raises(DetectionError, match="1 of 47400 values are not finite"):
        detect(row, spec, SIZE)
    with pytest.raises(DetectionError, match="expected"):
        detect(row[1:], spec, SIZE)


SCORES = {"scrfd": 1, "yunet": 4, "retinaface": 1, "centerface": 0, "ultralight": 0}


@pytest.mark.parametrize("name", HEADS)
def test_logits_are_no_scores(name: str) -> None:
    outputs = encoded(name)
    outputs[SCORES[name]].flat[3] = 13.3
    with pytest.raises(DetectionError, match=r"to 13.3, expected 0 to 1: export the model with"):
        HEADS[name].decode(outputs, SIZE, 0.5)


def test_ultralight_without_its_decoding_is_refused() -> None:
    outputs = encoded("ultralight")
    offsets = np.random.default_rng(0).normal(0, 1, outputs[1].shape)
    with pytest.raises(DetectionError, match="exported without its decoding"):
        HEADS["ultralight"].decode([outputs[0], offsets.astype(np.float32)], SIZE, 0.5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["yunet", "retinaface", "centerface"])
def test_wild_sides_do_not_overflow(name: str) -> None:
    outputs = [np.full(output.shape, 1e4, np.float32) for output in encoded(name)]
    for number, before in enumerate(encoded(name)):
        if before.max() <= 1 and number in (0, 1, 2, 3, 4, 5) and name == "yunet":
            outputs[number] = np.ones_like(before)
    if name != "yunet":
        outputs[SCORES[name]] = np.ones_like(outputs[SCORES[name]])
    found = HEADS[name].decode(outputs, SIZE, 0.5)
    assert len(found)
    assert np.isfinite(found.boxes).all()
