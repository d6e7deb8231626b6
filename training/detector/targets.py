"""Scenes of the training folder, varied, with what every anchor has to say about them."""

import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from net import ANCHORS, HEIGHT, STRIDES, WIDTH, cells

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Scene = tuple[npt.NDArray[np.uint8], Floats, Floats, Bools]  # pixels, boxes, points, ignored
# Sizes of faces (square root of the box's area, pixels) that each anchor of each stride is for.
RANGES = ((0, 22, 44), (44, 66, 96), (96, 136, 1e9))
SLACK = 1.15
FLIP = [1, 0, 2, 4, 3]
MOST_SHIFT, LEAST_LEFT = 24, 0.6  # pixels; share of a face left at the edge for it to count


def _anchors() -> Floats:
    rows = []
    for stride, limits in zip(STRIDES, RANGES, strict=True):
        height, width = cells(stride)
        for y in range(height):
            for x in range(width):
                for a in range(ANCHORS):
                    rows.append((x * stride, y * stride, stride, limits[a], limits[a + 1]))
    return np.array(rows, np.float32)


CELLS = _anchors()


def targets(boxes: Floats, points: Floats, ignored: Bools) -> tuple[Floats, Floats, Floats]:
    """For each anchor: 1 face, 0 none, -1 no matter; box distances and points in strides."""
    n = len(CELLS)
    label, box = np.zeros(n, np.float32), np.zeros((n, 4), np.float32)
    kps = np.full((n, 10), np.nan, np.float32)
    x, y, stride, low, high = CELLS.T
    for k in np.argsort(-(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])):
        x1, y1, x2, y2 = boxes[k]
        size = np.sqrt(max((x2 - x1) * (y2 - y1), 1))
        if ignored[k]:
            inside = (x > x1 - 4) & (x < x2 + 4) & (y > y1 - 4) & (y < y2 + 4)
            label[inside & (label == 0)] = -1
            continue
        far = np.maximum(np.abs(x - (x1 + x2) / 2), np.abs(y - (y1 + y2) / 2))
        near = far <= np.maximum(0.22 * size, 0.55 * stride)
        wide = (size >= low / SLACK) & (size < high * SLACK)
        ring = (far <= 0.35 * size) & (size >= low / 1.6) & (size < high * 1.6) & (label != 1)
        label[ring] = -1
        p = near & wide
        label[p] = 1
        box[p] = np.stack([x - x1, y - y1, x2 - x, y2 - y], 1)[p] / stride[p, None]
        marks = (points[k].reshape(1, 5, 2) - np.stack([x, y], 1)[:, None]) / stride[:, None, None]
        kps[p] = marks.reshape(n, 10)[p]
    return label, box, kps


def moved(scene: Scene, dx: int, dy: int) -> Scene:
    """The scene moved by whole pixels, its edge repeated."""
    x, boxes, points, ignored = scene
    most = MOST_SHIFT
    padded = np.pad(x, ((0, 0), (most, most), (most, most)), "edge")
    x = padded[:, most - dy : most - dy + HEIGHT, most - dx : most - dx + WIDTH]
    by = np.float32([dx, dy])
    return cut((x, boxes + np.tile(by, 2), points + by, ignored), WIDTH, HEIGHT)


def bordered(scene: Scene, width: int, height: int) -> Scene:
    """Zeros at the right and at the bottom, as `letterbox` adds them to photos of another shape."""
    x = np.zeros_like(scene[0])
    x[:, :height, :width] = scene[0][:, :height, :width]
    return cut((x, *scene[1:]), width, height)


def cut(scene: Scene, width: int, height: int) -> Scene:
    """Boxes end at the picture's edge; faces mostly outside are ignored, points there unknown."""
    x, whole, points, ignored = scene
    edge = np.float32([width - 1, height - 1])
    boxes = np.clip(whole, 0, np.tile(edge, 2))
    left = (boxes[:, 2:] - boxes[:, :2]).prod(1) / (whole[:, 2:] - whole[:, :2]).prod(1).clip(1e-3)
    outside = ((points < 0) | (points > edge)).any(2, keepdims=True)
    return x, boxes, np.where(outside, np.nan, points), ignored | (left < LEAST_LEFT)


def mirrored(scene: Scene) -> Scene:
    """Left and right exchanged; points stay those of the image's left and right."""
    x, boxes, points, ignored = scene
    x1, y1, x2, y2 = boxes.T
    boxes = np.stack([WIDTH - 1 - x2, y1, WIDTH - 1 - x1, y2], 1)
    points = points[:, FLIP] * np.float32([-1, 1]) + np.float32([WIDTH - 1, 0])
    return x[:, :, ::-1], boxes, points, ignored


def varied(scene: Scene, rng: np.random.Generator) -> Scene:
    """Moved, sometimes with a border of zeros, half of them mirrored."""
    dx, dy = rng.integers(-MOST_SHIFT, MOST_SHIFT + 1, 2).tolist()
    mirror, border = rng.random() < 0.5, rng.random() < 0.2
    scene = moved(scene, dx, dy)
    if mirror:
        scene = mirrored(scene)
    if border:
        share = rng.uniform(0.4, 1)
        across = rng.random() < 0.5
        width, height = (int(WIDTH * share), HEIGHT) if across else (WIDTH, int(HEIGHT * share))
        scene = bordered(scene, width, height)
    return scene


class Scenes(torch.utils.data.Dataset):
    """Item k is scene k modulo the number of scenes, varied by a generator that k seeds."""

    def __init__(self, folder: str) -> None:
        files = sorted(Path(folder).glob("*.npy"))
        self.pixels = [np.load(f, mmap_mode="r") for f in files]
        self.faces = [pickle.loads(f.with_suffix(".pkl").read_bytes()) for f in files]
        self.index = [(i, k) for i, p in enumerate(self.pixels) for k in range(len(p))]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, at: int) -> tuple[Floats, ...]:
        i, k = self.index[at % len(self.index)]
        rng = np.random.default_rng(at)
        x, *faces = varied((np.array(self.pixels[i][k]), *self.faces[i][k]), rng)
        light = np.float32([rng.uniform(0.75, 1.3), rng.uniform(-20, 20)])
        return np.ascontiguousarray(x), light, *targets(*faces)
