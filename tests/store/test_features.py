"""The feature store survives what boards, power cuts and bad disks do to it."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from orchestrator.errors import TransientError, UserError
from orchestrator.stages.score import stored_features
from orchestrator.store.features import DATA, JOURNAL, SUMMARY, FeatureWriter, read_features

ROWS, DIM, CHUNK = 1000, 48, 128
HEADER = {"model": "abc", "set": "def"}


def features(dtype: str = "float32") -> np.ndarray:
    rng = np.random.default_rng(5)
    if dtype == "float32":
        return rng.standard_normal((ROWS, DIM)).astype(np.float32)
    return rng.integers(1, 100, (ROWS, DIM)).astype(dtype)


def chunks(gaps=((0, ROWS),)):
    for start, stop in gaps:
        for low in range(start, stop, CHUNK):
            yield low, min(low + CHUNK, stop)


def fill(folder: Path, data: np.ndarray, gaps=((0, ROWS),)) -> None:
    with opened(folder, data) as writer:
        for low, high in chunks(gaps):
            writer.write(low, data[low:high])


def opened(folder: Path, data: np.ndarray) -> FeatureWriter:
    return FeatureWriter.open(folder, ROWS, DIM, str(data.dtype), HEADER)


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int8"])
def test_what_was_written_is_read_in_its_own_dtype(tmp_path, dtype):
    data = features(dtype)
    order = list(chunks())
    random.Random(1).shuffle(order)
    with opened(tmp_path, data) as writer:
        for low, high in order:
            writer.write(low, data[low:high])
        assert writer.missing() == []
        summary = writer.finish()
    array, failed, header = read_features(tmp_path)
    assert isinstance(array, np.memmap)
    assert array.dtype == data.dtype
    assert np.array_equal(array, data)
    assert not failed.any()
    assert header == HEADER
    assert json.loads((tmp_path / SUMMARY).read_text()) == summary
    assert np.array_equal(np.load(tmp_path / DATA), data)


def test_a_failed_row_is_zero_and_marked_whatever_came_for_it(tmp_path):
    data = features()
    marks = np.zeros(ROWS, bool)
    marks[[3, 700]] = True
    data[3] = np.nan
    with opened(tmp_path, data) as writer:
        for low, high in chunks():
            writer.write(low, data[low:high], marks[low:high])
        assert writer.finish()["failed"] == [3, 700]
    array, failed, _ = read_features(tmp_path)
    assert np.array_equal(failed, marks)
    assert not array[marks].any()
    assert np.array_equal(array[~marks], data[~marks])


def test_the_file_does_not_depend_on_the_order_of_chunks(tmp_path):
    data = features()
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, backwards in zip(folders, (False, True), strict=True):
        folder.mkdir()
        with opened(folder, data) as writer:
            for low, high in sorted(chunks(), reverse=backwards):
                writer.write(low, data[low:high])
            writer.finish()
    for name in (DATA, SUMMARY):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_missing_rows_are_the_gaps(tmp_path):
    data = features()
    with opened(tmp_path, data) as writer:
        assert writer.missing() == [(0, ROWS)]
        writer.write(128, data[128:256])
        writer.write(512, data[512:600])
        assert writer.missing() == [(0, 128), (256, 512), (600, ROWS)]
    with opened(tmp_path, data) as writer:
        assert writer.missing() == [(0, 128), (256, 512), (600, ROWS)]
        with pytest.raises(TransientError, match=r"784 of 1000 rows of features.npy are missing"):
            writer.finish()


def test_replaying_a_chunk_changes_nothing_on_disk(tmp_path):
    data = features()
    with opened(tmp_path, data) as writer:
        writer.write(0, data[:128])
        before = (tmp_path / JOURNAL).read_bytes()
        writer.write(0, data[:128])
        assert (tmp_path / JOURNAL).read_bytes() == before
        assert writer.replaced == 0


def test_the_same_rows_with_other_content_replace_the_earlier_ones(tmp_path):
    data = features()
    with opened(tmp_path, data) as writer:
        writer.write(0, data[:128] + 1)
        writer.write(0, data[:128])
        assert writer.replaced == 1
    fill(tmp_path, data, [(128, ROWS)])
    with opened(tmp_path, data) as writer:
        writer.finish()
    assert np.array_equal(read_features(tmp_path)[0], data)


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int8"])
def test_a_torn_last_line_and_a_zeroed_page_cost_exactly_their_chunks(tmp_path, dtype):
    data = features(dtype)
    size = data.dtype.itemsize
    fill(tmp_path, data)
    with open(tmp_path / JOURNAL, "r+b") as journal:
        journal.truncate((tmp_path / JOURNAL).stat().st_size - 9)
    with open(tmp_path / DATA, "r+b") as file:
        file.seek(128 + 300 * DIM * size)  # within rows 256..384
        file.write(bytes(1024 * size))
    with opened(tmp_path, data) as writer:
        assert writer.missing() == [(256, 384), (896, ROWS)]
    fill(tmp_path, data, [(256, 384), (896, ROWS)])
    with opened(tmp_path, data) as writer:
        writer.finish()
    whole = tmp_path / "whole"
    whole.mkdir()
    fill(whole, data)
    with opened(whole, data) as writer:
        writer.finish()
    assert (tmp_path / DATA).read_bytes() == (whole / DATA).read_bytes()
    assert (tmp_path / SUMMARY).read_bytes() == (whole / SUMMARY).read_bytes()


def test_a_damaged_line_in_the_middle_costs_only_its_chunk(tmp_path):
    data = features()
    fill(tmp_path, data)
    lines = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b'"n":128', b'"n":129')
    (tmp_path / JOURNAL).write_bytes(b"".join(lines))
    with opened(tmp_path, data) as writer:
        assert writer.missing() == [(256, 384)]


@pytest.mark.parametrize("damage", ["journal gone", "journal head", "data gone", "data cut"])
def test_losing_a_file_asks_for_what_it_held(tmp_path, damage):
    data = features()
    fill(tmp_path, data)
    expected = [(0, ROWS)]
    if damage == "journal gone":
        (tmp_path / JOURNAL).unlink()
    elif damage == "journal head":
        (tmp_path / JOURNAL).write_bytes(b"\0" * 40 + (tmp_path / JOURNAL).read_bytes()[40:])
    elif damage == "data gone":
        (tmp_path / DATA).unlink()
    else:
        os.truncate(tmp_path / DATA, 128 + 500 * DIM * 4)
        expected = [(384, ROWS)]
    with opened(tmp_path, data) as writer:
        assert writer.missing() == expected
        for low, high in chunks(expected):
            writer.write(low, data[low:high])
        writer.finish()
    assert np.array_equal(read_features(tmp_path)[0], data)


def test_damage_after_opening_is_found_at_the_end(tmp_path):
    data = features()
    with opened(tmp_path, data) as writer:
        for low, high in chunks():
            writer.write(low, data[low:high])
        with open(tmp_path / DATA, "r+b") as file:
            file.seek(128 + 5 * DIM * 4)
            file.write(b"\xff")
        with pytest.raises(TransientError, match="changed on the disk"):
            writer.finish()
        assert writer.missing() == [(0, 128)]
        writer.write(0, data[:128])
        writer.finish()
    assert np.array_equal(read_features(tmp_path)[0], data)


def test_damage_after_completion_is_refused(tmp_path):
    data = features()
    fill(tmp_path, data)
    with pytest.raises(TransientError, match="not a complete feature file"):
        read_features(tmp_path)
    with opened(tmp_path, data) as writer:
        writer.finish()
    with open(tmp_path / DATA, "r+b") as file:
        file.seek(4000)
        file.write(b"\xff\xff")
    with pytest.raises(TransientError, match="damaged in the store: its sha256"):
        read_features(tmp_path)


def test_other_features_in_the_folder_are_refused(tmp_path):
    data = features()
    fill(tmp_path, data, [(0, 128)])
    with pytest.raises(UserError, match=r"another kind \(dim, header differ\)"):
        FeatureWriter.open(tmp_path, ROWS, DIM + 1, "float32", {"model": "other"})


@pytest.mark.parametrize(
    ("start", "shape", "dtype", "message"),
    [
        (0, (4, DIM + 1), "float32", "was expected"),
        (0, (4, DIM), "float64", "was expected"),
        (0, (0, DIM), "float32", "was expected"),
        (ROWS - 2, (4, DIM), "float32", "for a file of 1000"),
        (-1, (4, DIM), "float32", "for a file of 1000"),
        (60, (128, DIM), "float32", "overlap the chunk 0 to 128"),
    ],
)
def test_a_chunk_that_does_not_fit_is_refused(tmp_path, start, shape, dtype, message):
    data = features()
    with opened(tmp_path, data) as writer:
        writer.write(0, data[:128])
        with pytest.raises(UserError, match=message):
            writer.write(start, np.ones(shape, dtype))
        assert writer.missing() == [(128, ROWS)]


def test_a_full_disk_is_named_with_the_space_left(tmp_path):
    """A file-size limit makes the kernel refuse the preallocation, as a full disk does."""
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from orchestrator.errors import TransientError
        from orchestrator.store.features import FeatureWriter
        try:
            FeatureWriter.open(Path(sys.argv[1]), 1000, 512, "float32", {})
        except TransientError as error:
            print(error.message)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout
    assert "bytes free" in done.stdout


WRITER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    import numpy as np
    from orchestrator.store.features import FeatureWriter
    rows, dim, step = 4000, 48, 16
    data = np.random.default_rng(7).standard_normal((rows, dim)).astype(np.float32)
    with FeatureWriter.open(Path(sys.argv[1]), rows, dim, "float32", {}) as writer:
        print("ready", flush=True)
        for start, stop in writer.missing():
            for low in range(start, stop, step):
                writer.write(low, data[low : min(low + step, stop)])
                print(low, flush=True)
        writer.finish()
    """
)


def test_kill_9_in_the_middle_keeps_every_chunk_that_was_acknowledged(tmp_path):
    data = np.random.default_rng(7).standard_normal((4000, 48)).astype(np.float32)
    acknowledged = set()
    for lines in (20, 41, 7):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout.readline() == "ready\n"
            acknowledged |= {int(writer.stdout.readline()) for _ in range(lines)}
            writer.send_signal(signal.SIGKILL)
        with FeatureWriter.open(tmp_path, 4000, 48, "float32", {}) as reader:
            absent = {low for start, stop in reader.missing() for low in range(start, stop)}
        assert not acknowledged & absent
    subprocess.run([sys.executable, "-c", WRITER, str(tmp_path)], check=True, timeout=60)
    assert np.array_equal(read_features(tmp_path)[0], data)


NATIVE = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    import numpy as np
    from orchestrator.store.features import FeatureWriter
    data = np.random.default_rng(7).integers(0, 256, (2000, 32)).astype(np.uint8)
    head = {"scale": 0.0625, "zero_point": 118}
    with FeatureWriter.open(Path(sys.argv[1]), 2000, 32, "uint8", head) as writer:
        print("ready", flush=True)
        for start, stop in writer.missing():
            for low in range(start, stop, 50):
                writer.write(low, data[low : min(low + 50, stop)])
                print(low, flush=True)
        writer.finish()
    """
)


def test_native_features_survive_kill_9_and_are_scored_with_their_scale(tmp_path):
    """uint8 rows are kept as they came; scale and zero point come back with them."""
    with subprocess.Popen(
        [sys.executable, "-c", NATIVE, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout.readline() == "ready\n"
        acknowledged = {int(writer.stdout.readline()) for _ in range(9)}
        writer.send_signal(signal.SIGKILL)
    head = {"scale": 0.0625, "zero_point": 118}
    with FeatureWriter.open(tmp_path, 2000, 32, "uint8", head) as reader:
        absent = {low for start, stop in reader.missing() for low in range(start, stop)}
    assert absent
    assert not acknowledged & absent
    data = np.random.default_rng(7).integers(0, 256, (2000, 32)).astype(np.uint8)
    whole = tmp_path / "whole"
    whole.mkdir()
    for folder in (tmp_path, whole):
        with FeatureWriter.open(folder, 2000, 32, "uint8", head) as writer:
            for start, stop in writer.missing():
                writer.write(start, data[start:stop])
            writer.finish()
    assert (tmp_path / DATA).read_bytes() == (whole / DATA).read_bytes()
    assert np.array_equal(read_features(tmp_path)[0], data)
    found = stored_features(tmp_path, [f"p{row}" for row in range(2000)])
    assert found.rows.dtype == np.float32
    assert np.array_equal(found.rows, (data.astype(np.float32) - 118) * np.float32(0.0625))


def test_native_features_without_their_scale_are_refused(tmp_path):
    data = features("uint8")
    fill(tmp_path, data)
    with opened(tmp_path, data) as writer:
        writer.finish()
    with pytest.raises(UserError, match="uint8 features without scale and zero point"):
        stored_features(tmp_path, ["p"] * ROWS)
