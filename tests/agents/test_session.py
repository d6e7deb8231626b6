"""Head and agent together, over real pipes: what a session gives."""

import json
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from orchestrator.data.progress import Progress
from orchestrator.data.times import RawTimes
from orchestrator.errors import BoardError, ToolchainError, TransientError, UserError
from orchestrator.fleet.boards.agent_bundle import LIMIT, _bundle, agent_bundle
from orchestrator.fleet.session.client import Cancelled, MeasurePolicy

from .conftest import (
    FACE,
    MODEL,
    OWN,
    Rows,
    faces,
    features,
    lacks,
    open_onnx,
    open_timed,
    preprocessing,
    sha256,
    timed_features,
)
from .pipes import PYTHON, agent, bundle_file, session

QUICK = MeasurePolicy(warm_up_count=3, min_duration_s=0.05, min_count=10, max_duration_s=5.0)


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """A session that has been greeted; what a test makes of it, the next one finds mended."""
    with agent(tmp_path_factory.mktemp("board")) as channel, session(channel) as made:
        made.hello()
        yield made


def direct(images, faithful):
    """The model's features by onnxruntime alone, one image at a time as on a board."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if faithful:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    run = onnxruntime.InferenceSession(str(MODEL), options, ["CPUExecutionProvider"]).run
    inputs = (images.astype(np.float32) - np.float32(127.5)) / np.float32(127.5)
    inputs = np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))
    return np.concatenate([run(None, {"data": one[None]})[0] for one in inputs])


@OWN
def test_hello_tells_what_the_board_is(tmp_path):
    import onnxruntime

    with agent(tmp_path) as channel, session(channel) as made:
        facts = made.hello()
        assert facts.python == ".".join(map(str, sys.version_info[:3]))
        assert facts.cores >= 1
        assert facts.memory_bytes > 0
        assert facts.cpu
        assert facts.runtimes["onnxruntime"].version == onnxruntime.__version__
        assert facts.pid == channel.process.pid
        providers = made.runtimes()["onnxruntime"].providers
        assert providers == tuple(onnxruntime.get_available_providers())


@OWN
@pytest.mark.parametrize(("faithful", "at_a_time"), [(True, 1), (False, 1), (False, 3)])
def test_features_equal_onnxruntime_bit_for_bit(board, faithful, at_a_time):
    images = faces(23, FACE)
    model = open_onnx(board, faithful=faithful)
    assert (model.dim, model.provider) == (256, "CPUExecutionProvider")
    assert model.inputs[0].shape == (None, 3, 112, 112)
    got = features(board.extract(Rows(images), chunk=9, timeout_s=20, at_a_time=at_a_time))
    assert got.tobytes() == direct(images, faithful).tobytes()


@pytest.mark.parametrize(("count", "chunk"), [(0, 64), (1, 64), (13, 1), (50, 7), (300, 64)])
def test_any_number_in_any_pieces(board, artifact, count, chunk):
    images = faces(count, size=8)
    open_timed(board, artifact, size=8, ms=0, dim=16)
    source = Rows(images)
    got = features(board.extract(source, chunk=chunk, timeout_s=20))
    assert got.tobytes() == timed_features(images, 16, size=8).tobytes()
    assert board.extraction.images == count
    assert [start for start, _ in source.reads] == list(range(0, count, chunk))


@pytest.mark.parametrize("at_a_time", [1, 3, 200])
def test_more_images_than_the_window_holds(board, artifact, at_a_time):
    images = faces(130, FACE)  # 4.9 MB, the window holds 4 MiB
    open_timed(board, artifact, FACE, ms=0, dim=4)
    got = features(board.extract(Rows(images), timeout_s=20, at_a_time=at_a_time))
    assert got.tobytes() == timed_features(images, 4, FACE).tobytes()


@pytest.mark.parametrize(("at_a_time", "least", "most"), [(1, 0.0, 1.0), (4, 1.0, 4.0)])
def test_so_many_images_are_computed_at_a_time(board, artifact, at_a_time, least, most):
    images = faces(60, size=8)
    open_timed(board, artifact, size=8, ms=30, dim=16)
    got = features(board.extract(Rows(images), timeout_s=20, at_a_time=at_a_time))
    assert got.tobytes() == timed_features(images, 16, size=8).tobytes()
    facts = board.extraction
    assert least < facts.run_ns / facts.span_ns <= most


@OWN
def test_what_cannot_run_side_by_side_runs_one_after_the_other(board):
    open_onnx(board, intra_op_threads=2)
    images = faces(5, FACE)
    assert len(features(board.extract(Rows(images), timeout_s=20, at_a_time=4))) == 5
    assert board.extraction.run_ns <= board.extraction.span_ns


def test_measure_streams_every_time(board, artifact):
    open_timed(board, artifact, ms=3, dim=4)
    policy = MeasurePolicy(warm_up_count=5, min_duration_s=0.7, min_count=30, max_duration_s=10)
    items = list(board.measure(faces(3), policy, timeout_s=20))
    blocks = [item for item in items if isinstance(item, RawTimes)]
    steps = [item for item in items if isinstance(item, Progress)]
    device = np.concatenate([block.device_ns for block in blocks])
    whole = np.concatenate([block.end_to_end_ns for block in blocks])
    assert len(blocks) > 1
    assert len(device) == len(whole) == steps[-1].done == steps[-1].total >= 30
    assert device.dtype == whole.dtype == np.int64
    assert np.all(device >= 3_000_000)
    assert np.all(whole > device)
    assert whole.sum() >= 0.9 * 0.7e9
    assert board.measurement.warm_up >= 5


def test_measure_ends_at_its_longest_time(board, artifact):
    open_timed(board, artifact, ms=20, dim=4)
    policy = MeasurePolicy(warm_up_count=0, min_duration_s=0, min_count=10**6, max_duration_s=0.3)
    blocks = [
        item for item in board.measure(faces(1), policy, timeout_s=20) if isinstance(item, RawTimes)
    ]
    assert 3 <= sum(len(block.device_ns) for block in blocks) <= 16


@pytest.mark.skipif(lacks("onnxruntime"), reason="the agents' Python has no onnxruntime")
@pytest.mark.parametrize("at_a_time", [1, 3])
def test_a_failing_image_is_named_and_the_others_come(board, tmp_path, at_a_time):
    path = picky_model(tmp_path / "picky.onnx", bound=200)
    images = faces(20, size=4)
    images[:, 0, 0, 0] = 10
    images[[3, 17], 0, 0, 0] = 250
    board.open_model(
        runtime="onnxruntime",
        artifact=str(path),
        sha256=sha256(path),
        options={},
        preprocessing=preprocessing(4),
        timeout_s=30,
    )
    blocks = list(board.extract(Rows(images), chunk=6, timeout_s=20, at_a_time=at_a_time))
    failed = dict(failure for block in blocks for failure in block.failures)
    assert sorted(failed) == [3, 17]
    assert "indices element out of data bounds" in failed[3]
    rows = features(blocks)
    assert sorted(np.flatnonzero(np.isnan(rows).any(axis=1))) == [3, 17]
    assert board.extraction.failed == 2


def picky_model(path, bound):
    """A model whose Gather goes out of bounds when an image's first value is too large."""
    import onnx
    from onnx import TensorProto, helper

    def constant(name, kind, dims, values):
        return helper.make_tensor(name, kind, dims, values)

    graph = helper.make_graph(
        [
            helper.make_node("Slice", ["image", "begin", "end"], ["corner"]),
            helper.make_node("Flatten", ["corner"], ["flat"]),
            helper.make_node("Mul", ["flat", "half"], ["scaled"]),
            helper.make_node("Add", ["scaled", "half"], ["raw"]),
            helper.make_node("Cast", ["raw"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "index"], ["rows"]),
            helper.make_node("Flatten", ["rows"], ["feature"]),
        ],
        "picky",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("feature", TensorProto.FLOAT, None)],
        [
            constant("begin", TensorProto.INT64, [4], [0, 0, 0, 0]),
            constant("end", TensorProto.INT64, [4], [1, 1, 1, 1]),
            constant("half", TensorProto.FLOAT, [1], [127.5]),
            constant("table", TensorProto.FLOAT, [bound, 2], [float(x) for x in range(2 * bound)]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.save(model, path)
    return path


def test_a_model_of_another_size_is_the_users_to_fix(board):
    told = r"takes float32 \['free', 3, 112, 112\].* makes float32 \[1, 3, 64, 64\]"
    with pytest.raises(UserError, match=told):
        open_onnx(board, size=64)
    with pytest.raises(TransientError, match="no model is open"):
        next(board.extract(Rows(faces(1)), timeout_s=5))


def test_images_of_another_size_are_refused_and_the_session_goes_on(board, artifact):
    open_timed(board, artifact, ms=0, dim=4)
    told = r"shape \(2, 64, 64, 3\), expected \(2, 16, 16, 3\)"
    with pytest.raises(UserError, match=told):
        list(board.measure(faces(2, size=64), QUICK, timeout_s=5))
    with pytest.raises(UserError, match=told):
        list(board.extract(Rows(faces(2, size=64)), timeout_s=5))
    with pytest.raises(UserError, match="images are float32, expected uint8"):
        list(board.extract(Rows(faces(2).astype(np.float32)), timeout_s=5))
    assert len(features(board.extract(Rows(faces(2)), timeout_s=5))) == 2


def test_a_source_that_fails_ends_the_job_alone(board, artifact):
    class Broken(Rows):
        def read(self, start, n):
            if start:
                raise OSError("the disk is gone")
            return super().read(start, n)

    open_timed(board, artifact, ms=0, dim=4)
    with pytest.raises(OSError, match="the disk is gone"):
        list(board.extract(Broken(faces(20)), chunk=10, timeout_s=5))
    assert len(features(board.extract(Rows(faces(2)), timeout_s=5))) == 2


def test_a_provider_that_is_not_there_is_an_error(board):
    with pytest.raises(BoardError, match="CUDAExecutionProvider was asked for"):
        open_onnx(board, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])


# A provider that every build of onnxruntime for this machine has, and that takes no node of a
# plain model: what a GPU's would be where it takes none.
IDLE = "AzureExecutionProvider"


def test_nodes_that_fall_back_to_the_cpu_are_an_error(board):
    asked = "import onnxruntime; print(*onnxruntime.get_available_providers())"
    if IDLE not in subprocess.check_output([PYTHON, "-c", asked], text=True).split():
        pytest.skip(f"no {IDLE} in this onnxruntime")
    with pytest.raises(ToolchainError, match=r"only Azure.* has nodes that it must run on the CPU"):
        open_onnx(board, providers=[IDLE])
    # Allowed to help out, the CPU must not do it all: the session lists the provider all the same.
    told = r"AzureExecutionProvider was asked for, but .* runs none of the nodes on it: \d+ on CPU"
    with pytest.raises(ToolchainError, match=told):
        open_onnx(board, providers=[IDLE, "CPUExecutionProvider"])
    model = open_onnx(board, providers=["CPUExecutionProvider", IDLE])
    assert model.facts["nodes"].keys() == {"CPUExecutionProvider"}


@OWN
def test_a_bound_run_gives_the_same_features(board):
    """As on a GPU, but for the place of the memory."""
    images = faces(5, FACE)
    model = open_onnx(board, bound=True)
    assert model.facts["device_time"] == "wall time of a bound run, without copies"
    got = features(board.extract(Rows(images), timeout_s=20))
    assert got.tobytes() == direct(images, False).tobytes()


def test_shares_of_nodes_are_told_and_foreign_ones_refused():
    from orchestrator.agents.protocol.errors import AgentError
    from orchestrator.agents.runtimes.support import ort_nodes

    cuda, cpu = "CUDAExecutionProvider", "CPUExecutionProvider"
    event = {"name": "Conv_kernel_time", "args": {"node_index": "1", "provider": cuda}}
    other = {"name": "Odd_kernel_time", "args": {"node_index": "2", "provider": cpu}}
    nodes = ort_nodes.count([event, event, other, {"name": "session"}, "x"])
    assert nodes == {cuda: 1, cpu: 1}
    ort_nodes.check([cuda, cpu], nodes, "1.16")
    words, facts = ort_nodes.words(cuda, nodes)
    assert words == f"{cuda} + {cpu} (1 of 2 nodes)"
    assert facts == {"nodes": nodes}
    for asked, found, kind, told in [
        ([cuda], nodes, "toolchain", f"runs nodes elsewhere: 1 on {cpu}, 1 on {cuda}"),
        ([cuda, cpu], {cpu: 9}, "toolchain", f"runs none of the nodes on it: 9 on {cpu}"),
        ([cuda], {}, "board", "cannot be ruled out"),
    ]:
        with pytest.raises(AgentError) as caught:
            ort_nodes.check(asked, found, "1.16")
        assert told in caught.value.message
        assert caught.value.kind == kind


def test_a_runtime_that_is_not_there_is_an_error(board, artifact):
    with pytest.raises(BoardError, match="no runtime 'abacus' in this agent; it knows"):
        board.open_model(
            runtime="abacus",
            artifact=str(artifact),
            sha256=sha256(artifact),
            options={},
            preprocessing=preprocessing(),
            timeout_s=10,
        )


def test_an_artifact_is_verified_where_it_is_used(board, artifact):
    for path, told in [(artifact, "expected 0000"), ("/nowhere/at/all", "cannot read")]:
        with pytest.raises(TransientError, match=told):
            board.open_model(
                runtime="timed",
                artifact=str(path),
                sha256="0" * 64,
                options={},
                preprocessing=preprocessing(),
                timeout_s=10,
            )


def test_a_file_that_is_no_model_is_the_toolchains_fault(board, artifact):
    with pytest.raises(ToolchainError, match=r"onnxruntime .* refuses timed.bin"):
        open_onnx(board, path=artifact)


def test_cancel_stops_a_job_and_the_session_goes_on(board, artifact):
    open_timed(board, artifact, ms=50, dim=4)
    for job in (
        board.extract(Rows(faces(200)), timeout_s=90),
        board.extract(Rows(faces(400)), timeout_s=90, at_a_time=2),
        board.measure(faces(1), MeasurePolicy(0, 30, 10, 60), timeout_s=90),
    ):
        next(job)
        threading.Timer(0.1, board.cancel).start()
        with pytest.raises(Cancelled):
            list(job)
    assert len(features(board.extract(Rows(faces(2)), timeout_s=5))) == 2


def test_cancel_when_nothing_runs_changes_nothing(board, artifact):
    board.cancel()
    open_timed(board, artifact, ms=0, dim=4)
    board.cancel()
    assert len(features(board.extract(Rows(faces(2)), timeout_s=5))) == 2


def test_a_reader_that_stops_early_frees_the_board(board, artifact):
    open_timed(board, artifact, ms=5, dim=4)
    job = board.extract(Rows(faces(200)), timeout_s=5)
    next(job)
    job.close()
    assert len(features(board.extract(Rows(faces(2)), timeout_s=5))) == 2


def test_a_slow_reader_gets_everything(board, artifact):
    open_timed(board, artifact, size=8, ms=0, dim=4)
    images = faces(400, size=8)
    job = board.extract(Rows(images), chunk=20, timeout_s=5)
    first = next(job)
    time.sleep(0.3)
    rest = list(job)
    assert features([first, *rest]).tobytes() == timed_features(images, 4, size=8).tobytes()


def test_heartbeats_bring_the_sensors(tmp_path):
    zone = tmp_path / "board/sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("npu")
    (zone / "temp").write_text("41000")
    extra = f"--root {tmp_path / 'board'}"
    with agent(tmp_path, extra=extra) as channel, session(channel) as made:
        made.hello()
        assert made.telemetry()["temperature_c"] == 41.0
        (zone / "temp").write_text("83500")
        end = time.monotonic() + 10
        while made.telemetry()["temperature_c"] != 83.5:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_the_bundle_is_small_and_always_the_same():
    one = agent_bundle()
    _bundle.cache_clear()
    assert agent_bundle() == one
    assert len(one.data) < LIMIT == 100_000


def test_nothing_but_the_agent_is_left_in_the_workdir(tmp_path, artifact):
    with agent(tmp_path) as channel, session(channel) as made:
        made.hello()
        open_timed(made, artifact, ms=0, dim=4)
        features(made.extract(Rows(faces(50)), timeout_s=5))
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    agent_file = bundle_file(tmp_path).name
    assert left == sorted([agent_file, "artifacts", "artifacts/timed.bin", "board.lock"])


@OWN
def test_the_agent_is_light(tmp_path):
    with agent(tmp_path) as channel, session(channel) as made:
        pid = made.hello().pid
        with open(f"/proc/{pid}/status") as file:
            fields = dict(line.split(":", 1) for line in file)
    assert int(fields["VmRSS"].split()[0]) < 20 * 1024


def run(tmp_path, *words):
    told = subprocess.run(
        [PYTHON, bundle_file(tmp_path), *words, "--workdir", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    return told.returncode, told.stdout, told.stderr


def test_who_and_wipe(tmp_path, artifact):
    assert run(tmp_path, "who")[:2] == (0, "{}\n")
    with agent(tmp_path, owner="alice") as channel, session(channel) as made:
        made.hello()
        holder = json.loads(run(tmp_path, "who")[1])
        assert holder["owner"] == "alice"
        assert holder["lease_left_s"] > 0
        status, _, error = run(tmp_path, "wipe")
        assert status == 3
        assert "in use by alice" in error
    assert run(tmp_path, "wipe")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["board.lock"]
