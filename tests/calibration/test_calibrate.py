"""The streaming calibrator gives stock's ranges, whatever the batches and shards."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from orchestrator.calibration import CalibrationTable, calibrate
from orchestrator.errors import ToolchainError, UserError
from orchestrator.graphs.prepare import prepare
from tests.toolchains import nets

BINS = 512


@pytest.fixture(scope="module")
def prepared() -> bytes:
    return prepare(nets.iresnet())


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return nets.images(12)


class Reader:
    """What onnxruntime's calibrators read from."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = iter(images)

    def get_next(self):
        image = next(self.images, None)
        return None if image is None else {"data": image[None]}


def stock(prepared: bytes, images: np.ndarray, folder, method: str):
    """Ranges by onnxruntime's own calibrators, called directly."""
    from onnxruntime.quantization import calibrate as ort

    path = folder / "model.onnx"
    path.write_bytes(prepared)
    augmented = str(folder / "augmented.onnx")
    if method == "minmax":
        calibrator = ort.MinMaxCalibrater(path, augmented_model_path=augmented)
    elif method == "entropy":
        calibrator = ort.EntropyCalibrater(
            path, augmented_model_path=augmented, num_bins=BINS, num_quantized_bins=128
        )
    else:
        calibrator = ort.PercentileCalibrater(
            path, augmented_model_path=augmented, num_bins=BINS, percentile=99.9
        )
    calibrator.augment_graph()
    calibrator.create_inference_session()
    calibrator.collect_data(Reader(images))
    return {name: data.range_value for name, data in calibrator.compute_data().items()}


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_ranges_are_bit_equal_to_stocks(prepared, images, tmp_path, method):
    expected = stock(prepared, images, tmp_path, method)
    table = calibrate(prepared, [images], method, bins=BINS, percentile=99.9)
    found = table.ranges()
    assert set(expected) == set(found)
    assert len(expected) == 11
    for name, (low, high) in expected.items():
        assert np.float32(low).tobytes() == np.float32(found[name][0]).tobytes(), name
        assert np.float32(high).tobytes() == np.float32(found[name][1]).tobytes(), name


def test_entropy_and_percentile_clip_where_minmax_does_not(prepared, images):
    table = calibrate(prepared, [images], "entropy", bins=BINS, percentile=99.0)
    widths = {
        method: sum(float(high) - float(low) for low, high in table.ranges(method).values())
        for method in ("minmax", "percentile", "entropy")
    }
    assert widths["percentile"] < widths["minmax"]
    assert widths["entropy"] < widths["minmax"]


def test_stocks_entropy_through_quantize_static_would_have_been_minmax(prepared, images):
    """Its 128 bins are its 128 levels: one candidate, which is why bins are ours to choose."""
    with pytest.raises(UserError, match="expected more than quantized_bins"):
        calibrate(prepared, [images], "entropy", bins=128)


@pytest.fixture(scope="module")
def whole(prepared, images) -> bytes:
    """The table by all images at once."""
    return calibrate(prepared, [images], "entropy", bins=BINS).to_bytes()


def test_the_order_and_size_of_batches_do_not_matter(prepared, images, whole):
    singles = calibrate(
        prepared, [images[i : i + 1] for i in range(11, -1, -1)], "entropy", bins=BINS
    )
    assert singles.to_bytes() == whole


def test_a_generator_and_a_function_serve_both_passes(prepared, images):
    whole = calibrate(prepared, [images], "percentile", bins=BINS).to_bytes()
    batches = [images[:5], images[5:]]
    assert calibrate(prepared, iter(batches), "percentile", bins=BINS).to_bytes() == whole
    function = calibrate(prepared, lambda: iter(batches), "percentile", bins=BINS)
    assert function.to_bytes() == whole


def sharded(prepared: bytes, shards: list[np.ndarray]) -> CalibrationTable:
    """As separate machines would do it: tables travel as bytes between the two rounds."""
    first = [calibrate(prepared, [shard], "minmax").to_bytes() for shard in shards]
    ranges = CalibrationTable.from_bytes(first[0])
    for data in first[1:]:
        ranges = ranges.merge(CalibrationTable.from_bytes(data))
    second = [calibrate(prepared, [shard], "entropy", bins=BINS, ranges=ranges) for shard in shards]
    table = second[0]
    for other in second[1:]:
        table = table.merge(other)
    return table


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), count=st.sampled_from([1, 2, 5]))
def test_any_number_of_shards_gives_the_identical_table(prepared, images, whole, data, count):
    cuts = sorted(
        data.draw(st.lists(st.integers(1, 11), min_size=count - 1, max_size=count - 1, unique=True))
    )
    order = data.draw(st.permutations(range(count)))
    parts = np.split(images, cuts)
    assert sharded(prepared, [parts[i] for i in order]).to_bytes() == whole


def test_a_table_survives_its_file(prepared, images):
    table = calibrate(prepared, [images], "entropy", bins=BINS)
    data = table.to_bytes()
    read = CalibrationTable.from_bytes(data)
    assert read.to_bytes() == data
    assert read.ranges() == table.ranges()
    assert read.ranges("percentile") == table.ranges("percentile")
    assert read.calibration_set == table.calibration_set
    damaged = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(ToolchainError, match="damaged"):
        CalibrationTable.from_bytes(damaged)
    with pytest.raises(ToolchainError, match="not a calibration table"):
        CalibrationTable.from_bytes(b"PK something else")


def test_tables_that_do_not_belong_together_are_not_merged(prepared, images):
    one = calibrate(prepared, [images[:4]], "entropy", bins=BINS)
    two = calibrate(prepared, [images[4:]], "entropy", bins=BINS)
    with pytest.raises(UserError, match="counted over different ranges"):
        one.merge(two)
    with pytest.raises(UserError, match="different method"):
        one.merge(calibrate(prepared, [images], "minmax"))
    with pytest.raises(UserError, match="has no histograms"):
        calibrate(prepared, [images[:2]], "minmax").ranges("entropy")
    with pytest.raises(UserError, match="made from another model"):
        calibrate(nets.iresnet(seed=9), [images], "entropy", bins=BINS, ranges=one)
    with pytest.raises(UserError, match="not among those that the ranges were made from"):
        calibrate(prepared, [images[4:]], "entropy", bins=BINS, ranges=one)


def test_the_unprepared_model_gives_the_same_table(prepared, images):
    assert (
        calibrate(nets.iresnet(), [images]).to_bytes() == calibrate(prepared, [images]).to_bytes()
    )


def test_progress_counts_images_in_each_pass(prepared, images):
    seen = []
    calibrate(prepared, [images[:3]], "entropy", bins=BINS, progress=lambda *a: seen.append(a))
    assert seen == [(i, what) for what in ("ranges", "histograms") for i in (1, 2, 3)]


def test_bad_calibration_sets_are_refused(prepared, images):
    with pytest.raises(UserError, match="calibration set is empty"):
        calibrate(prepared, [])
    with pytest.raises(UserError, match=r"float32 \(1, 3, 20, 16\), the model takes .*3, 16, 16"):
        calibrate(prepared, [np.zeros((1, 3, 20, 16), np.float32)])
    with pytest.raises(UserError, match=r"uint8"):
        calibrate(prepared, [np.zeros((1, 3, 16, 16), np.uint8)])
    with pytest.raises(UserError, match="NaN"):
        calibrate(prepared, [np.full((1, 3, 16, 16), np.nan, np.float32)])
    with pytest.raises(UserError, match="unknown calibrator 'minmaxx'"):
        calibrate(prepared, [images], "minmaxx")


def test_a_tensor_that_overflows_is_named(images):
    """Finite on probe images, infinite on a brighter calibration image."""
    proto = onnx.load_model_from_string(nets.iresnet())
    weight = next(t for t in proto.graph.initializer if t.name == "conv2.w")
    array = numpy_helper.to_array(weight) * np.float32(1e35)
    weight.CopyFrom(numpy_helper.from_array(array, "conv2.w"))
    model = proto.SerializeToString()
    with pytest.raises(ToolchainError, match=r"tensor 'bn3' of node 'conv2' \(Conv\) is NaN"):
        calibrate(model, [images * np.float32(1e6)])
