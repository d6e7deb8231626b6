"""Near pairs: all of them and no other, against counting bit by bit; and what near means."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image

from orchestrator.audit.near import NEAR_BITS, near_pairs
from orchestrator.audit.prints import Prints, prints_of
from orchestrator.images import gallery_rows, probe_rows
from orchestrator.specs import RenderedSet


def test_every_near_pair_is_found_and_no_other() -> None:
    random = np.random.default_rng(3)
    hashes = random.integers(0, 2**64, (300, 4), dtype=np.uint64)
    for place in range(0, 300, 3):  # copies with 0 to 30 bits turned
        turned = np.unpackbits(hashes[place].view(np.uint8))
        turned[random.choice(256, place // 10, replace=False)] ^= 1
        hashes[place + 1] = np.packbits(turned).view(np.uint64)
    bits = np.unpackbits(hashes.view(np.uint8).reshape(300, -1), axis=1).astype(int)
    differ = (bits[:, None] != bits[None]).sum(2)
    expected = {(a, b): differ[a, b] for a, b in np.argwhere(differ <= NEAR_BITS) if a < b}
    pairs, counts, whole = near_pairs(hashes)
    assert whole
    assert dict(zip(map(tuple, pairs.tolist()), counts.tolist(), strict=True)) == expected
    assert 60 <= len(expected) <= 70


def test_a_complement_is_not_near() -> None:
    hashes = np.stack([np.zeros(4, np.uint64), np.full(4, 2**64 - 1, np.uint64)])
    assert len(near_pairs(hashes)[0]) == 0


def test_a_flood_of_pairs_is_cut_short_and_said() -> None:
    pairs, counts, whole = near_pairs(np.zeros((400, 4), np.uint64), most=1000)
    assert not whole
    assert 1000 <= len(pairs) == len(counts) < 1400


class Made:
    """Images that are there."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, start: int, stop: int) -> np.ndarray:
        return self.pixels[start:stop]


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))


def _halved(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize((width // 2, height // 2))
    return np.asarray(small.resize((width, height)))


def _brighter(image: np.ndarray) -> np.ndarray:
    return np.clip(image.astype(int) + 12, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    """Two shots each of 150 identities."""
    spec = RenderedSet(identities=150)
    sides = (gallery_rows(spec), probe_rows(spec))
    return np.concatenate([side.images(0, len(side)) for side in sides])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda i: _jpeg(i, 75), id="jpeg75"),
        pytest.param(_halved, id="half", marks=pytest.mark.slow),
        pytest.param(_brighter, id="brighter", marks=pytest.mark.slow),
    ],
)
def test_a_changed_copy_is_near_its_original_and_nothing_else(faces, change) -> None:
    copies = np.stack([change(image) for image in faces[:50]])
    prints = prints_of(Made(np.concatenate([faces, copies])))
    assert len(np.unique(prints.pixels, axis=0)) == 350, "no copy has the same pixels"
    pairs, _, whole = near_pairs(prints.looks)
    assert whole
    assert {tuple(pair) for pair in pairs.tolist()} == {(i, 300 + i) for i in range(50)}


def test_prints_survive_being_kept(faces) -> None:
    made = prints_of(Made(faces[:5]))
    again = Prints.from_bytes(made.to_bytes())
    assert all((getattr(made, n) == getattr(again, n)).all() for n in vars(made))
    with pytest.raises(ValueError):
        Prints.from_bytes(made.to_bytes()[:-300])


def test_twenty_thousand_images_are_compared_in_seconds() -> None:
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, (20_000, 4), dtype=np.uint64)
    hashes[17_000] = hashes[3] ^ np.uint64(5)
    began = time.monotonic()
    pairs, counts, whole = near_pairs(hashes)
    assert time.monotonic() - began < 30  # 1 s on an idle processor
    assert (pairs.tolist(), counts.tolist(), whole) == ([[3, 17_000]], [8], True)
