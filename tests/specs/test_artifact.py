"""What a manifest says of an artifact's input becomes what the board is told, or is refused."""

import json

import pytest

from orchestrator.agents.session.preprocess import Preprocessor
from orchestrator.errors import ToolchainError
from orchestrator.fleet.session.client import Preprocessing
from orchestrator.specs.artifact import ArtifactInterface
from orchestrator.stages import deployable

MODEL = {
    "height": 8,
    "width": 6,
    "layout": "NCHW",
    "colour": "BGR",
    "mean": [1.0, 2.0, 3.0],
    "std": [4.0, 5.0, 6.0],
}
OUTPUT = {"name": "feature", "shape": [1, 4], "dtype": "float32"}
FLOAT = {"shape": [1, 3, 8, 6], "dtype": "float32", "layout": "NCHW", "normalized_by": "caller"}
RAW = {"shape": [1, 8, 6, 3], "dtype": "uint8", "layout": "NHWC", "normalized_by": "model"}
QUANTIZED = FLOAT | {"dtype": "uint8", "scale": 0.01, "zero_point": 127}


def interface(**changes):
    return ArtifactInterface.of({"input": FLOAT | changes, "output": OUTPUT, "opset": 11}, "a file")


def test_the_caller_normalizes():
    made = interface().preprocessing(MODEL)
    assert made == MODEL | {"dtype": "float32"}
    assert Preprocessor(made).dtype == "float32"


def test_the_model_normalizes_raw_pixels():
    made = interface(**RAW).preprocessing(MODEL)
    assert (made["dtype"], made["layout"], made["colour"]) == ("uint8", "NHWC", "BGR")
    image = bytes(range(144))
    prepared = bytes(Preprocessor(made)(image))
    assert prepared[:3] == image[2::-1]
    assert interface(**RAW, colour="RGB").preprocessing(MODEL)["colour"] == "RGB"


def test_the_caller_quantizes():
    made = interface(**QUANTIZED).preprocessing(MODEL)
    prepare = Preprocessor(made)
    assert prepare.scale == pytest.approx(0.01)
    assert prepare.zero_point == 127


@pytest.mark.parametrize("given", [FLOAT, RAW, QUANTIZED])
def test_it_travels(given):
    made = ArtifactInterface.of({"input": given, "output": OUTPUT}, "a file")
    text = json.dumps(made.to_json()).encode()
    assert deployable.read_interface(text) == made
    meta = made.preprocessing(MODEL)
    assert Preprocessing.from_meta(meta).to_meta() == meta


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"layout": "CHWN"}, "input.layout: Input should be 'NCHW' or 'NHWC'"),
        ({"normalized_by": "nobody"}, "input.normalized_by"),
        ({"layout": "NHWC"}, "is not one image in NHWC"),
        ({"shape": [2, 3, 8, 6]}, "is not one image in NCHW"),
        ({"dtype": "uint8"}, "needs its scale"),
        ({"dtype": "float16"}, "cannot be made on a board"),
        (QUANTIZED | {"normalized_by": "model"}, "takes raw uint8 pixels"),
        ({"scale": 0.1}, "come together"),
        ({"scale": 0.1, "zero_point": 0}, "float32 has no scale"),
        (QUANTIZED | {"zero_point": 300}, "zero_point 300 is outside uint8"),
        (QUANTIZED | {"scale": 0.0}, "greater than 0"),
    ],
)
def test_what_cannot_be_is_refused(changes, told):
    with pytest.raises(ToolchainError, match="a file: its manifest does not say") as caught:
        interface(**changes)
    assert told in caught.value.message


def test_a_manifest_without_a_word_is_refused():
    with pytest.raises(ToolchainError, match="input: Field required"):
        ArtifactInterface.of({"output": OUTPUT}, "a file")


def test_images_of_another_size_are_refused():
    with pytest.raises(ToolchainError, match="images of 8 x 6, the model manifest says 8 x 7"):
        interface().preprocessing(MODEL | {"width": 7})
