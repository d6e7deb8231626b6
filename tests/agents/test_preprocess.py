"""The board's arithmetic, with numpy and without, equals the head's, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.agents.protocol.errors import AgentError
from orchestrator.agents.session.preprocess import Preprocessor
from orchestrator.calibration.preprocess import preprocess

pixels = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
)
means = st.floats(0, 255, width=32)
stds = st.floats(0.0078125, 1000, width=32)


def prepared(meta, image):
    """An image's input, which the board makes with numpy as it makes it without."""
    prepare = Preprocessor(meta)
    plain = bytes(prepare(image.tobytes()))
    prepare.use(np)
    assert bytes(prepare(image.tobytes())) == plain
    assert bytes(prepare(memoryview(image.tobytes()))) == plain
    return plain


def described(**other):
    return {"height": 5, "width": 7, "layout": "NCHW", "colour": "RGB", **other}


@given(
    pixels,
    st.lists(means, min_size=3, max_size=3) | means,
    st.lists(stds, min_size=3, max_size=3) | stds,
    st.sampled_from(["NCHW", "NHWC"]),
    st.sampled_from(["RGB", "BGR"]),
)
@settings(max_examples=60, deadline=None)
def test_float32_is_numpys_to_the_bit(image, mean, std, layout, colour):
    meta = described(layout=layout, colour=colour, mean=mean, std=std)
    made = np.frombuffer(prepared(meta, image), np.float32)
    expected = preprocess(image[None], layout=layout, colour_order=colour, mean=mean, std=std)
    assert made.tobytes() == expected.tobytes()


def test_a_mean_that_float32_cannot_hold_is_rounded_first():
    image = np.arange(105, dtype=np.uint8).reshape(5, 7, 3)
    made = prepared(described(mean=0.1, std=1 / 3), image)
    expected = (image.astype(np.float32) - np.float32(0.1)) / np.float32(1 / 3)
    assert made == expected.transpose(2, 0, 1).tobytes()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("colour", ["RGB", "BGR"])
def test_raw_pixels_pass_through(layout, colour):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    expected = image if colour == "RGB" else image[..., ::-1]
    if layout == "NCHW":
        expected = expected.transpose(2, 0, 1)
    meta = described(layout=layout, colour=colour, dtype="uint8")
    assert prepared(meta, image) == expected.tobytes()


@pytest.mark.parametrize(
    ("dtype", "zero", "low", "high"), [("uint8", 128, 0, 255), ("int8", -3, -128, 127)]
)
def test_quantized_input(dtype, zero, low, high):
    image = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    meta = described(dtype=dtype, mean=127.5, std=127.5, scale=0.0071, zero_point=zero)
    value = (image.astype(np.float32) - np.float32(127.5)) / np.float32(127.5)
    sums = (value / np.float32(0.0071) + np.float32(zero)).astype(np.float64)
    steps = np.trunc(sums + np.copysign(0.5, sums))
    expected = np.clip(steps, low, high).astype(dtype).transpose(2, 0, 1)
    assert prepared(meta, image) == expected.tobytes()


def test_the_usual_input_keeps_every_level_of_the_pixels():
    """(-1, 1) in 255 steps puts each pixel on a half: rounded to even, pairs would merge."""
    image = np.zeros((5, 52, 3), np.uint8)
    image.reshape(-1)[:256] = np.arange(256)
    meta = described(
        width=52, layout="NHWC", dtype="uint8", mean=127.5, std=127.5, scale=2 / 255, zero_point=127
    )
    made = np.frombuffer(prepared(meta, image), np.uint8)[:256]
    assert len(set(made.tolist())) >= 254


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"std": 0}, "std is 0, expected positive"),
        ({"std": [1, 2]}, "std has 2 numbers, expected 1 or 3"),
        ({"mean": "x"}, "mean is 'x', expected numbers"),
        ({"mean": float("nan")}, "mean is nan, expected numbers"),
        ({"mean": 1e60}, "does not fit float32"),
        ({"mean": 10**400}, "expected numbers"),
        ({"layout": "CHWN"}, "layout is 'CHWN', expected NCHW or NHWC"),
        ({"height": 0}, "height is 0"),
        ({"height": True}, "height is True"),
        ({"dtype": "int8"}, "int8 input with scale None"),
    ],
)
def test_a_wrong_description_is_named(change, told):
    with pytest.raises(AgentError, match=told) as caught:
        Preprocessor(described(**change))
    assert caught.value.kind == "user"


def test_an_image_of_another_size_is_refused():
    prepare = Preprocessor(described())
    for numpy in (None, np):
        prepare.use(numpy)
        with pytest.raises(AgentError, match=r"an image of 3 bytes, expected 105 \(5 x 7 x 3\)"):
            prepare(b"abc")
