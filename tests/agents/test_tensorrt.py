"""The TensorRT runtime over a pretended GPU: names, memory, the engine's life, each way to fail."""

import hashlib
import json
import os
import re
import subprocess
import sys

import pytest

from . import fake_tensorrt
from .gpu import BINDINGS, PREPROCESSING, Machine, expected, inputs, onnx_file
from .pipes import interpreters


@pytest.fixture
def model(tmp_path):
    return onnx_file(tmp_path / "artifacts" / "model.onnx")


slow = pytest.mark.slow
QUICK = ("8.2.1", "10.3.0")


@pytest.mark.parametrize(
    "version",
    [pytest.param(name, marks=() if name in QUICK else slow) for name in BINDINGS],
)
def test_features_of_every_version(tmp_path, model, version):
    data = inputs(4)
    machine = Machine(tmp_path, version, settings={"ms": 3})
    got = machine.drive(model, data)
    assert "error" not in got, got
    assert got["features"].tobytes() == expected(model, data).tobytes()
    assert got["version"] == version
    assert got["live"] == [0, 0, 0]
    facts = got["facts"]
    assert facts["gpu"] == "Xavier"
    assert facts["compute_capability"] == "7.2"
    assert facts["cuda"] == "11.4"
    assert facts["int8"] is True
    assert facts["built_now"] is True
    assert facts["tensorrt"] == version
    old = version in ("8.0.1", "8.2.1", "8.4.1")
    assert facts["api"] == ("bindings" if old else "tensor addresses")
    assert set(machine.log) == {"build", "v2" if old else "v3"}
    # Between the events there is the engine alone, and all of it.
    assert all(3_000_000 <= ns < 60_000_000 for ns in got["ns"])
    plan = next(model.parent.glob("engine-*.plan")).read_bytes()
    built = json.loads(plan[8:])
    assert (built["flags"], built["cleared"]) == (["INT8"], ["TF32"])
    assert built["workspace"] == 512 << 20


@pytest.mark.parametrize(
    ("version", "python"),
    [
        ("8.2.1", "3.6"),
        pytest.param("10.3.0", "3.6", marks=slow),
        pytest.param("8.0.1", "3.13", marks=slow),
        pytest.param("10.3.0", "3.13", marks=slow),
    ],
)
def test_on_old_and_new_pythons(tmp_path, model, version, python):
    if python not in interpreters():
        pytest.skip(f"no Python {python}")
    data = inputs(2)
    got = Machine(tmp_path, version, python=interpreters()[python]).drive(model, data)
    assert got["features"].tobytes() == expected(model, data).tobytes()


def test_half_precision_in_and_out(tmp_path, model):
    data = inputs(3)
    got = Machine(tmp_path, settings={"half": True}).drive(model, data)
    assert got["features"].tobytes() == expected(model, data).tobytes()
    assert got["inputs"][0]["dtype"] == "float16"


def test_a_float_file_is_built_without_int8(tmp_path):
    model = onnx_file(tmp_path / "artifacts" / "model.onnx", quantized=False)
    got = Machine(tmp_path).drive(model, inputs(1), options={"fp16": True, "workspace_mb": 64})
    built = json.loads(next(model.parent.glob("engine-*.plan")).read_bytes()[8:])
    assert got["facts"]["int8"] is False
    assert (built["flags"], built["workspace"]) == (["FP16"], 64 << 20)


class TestTheEngineIsKept:
    def test_and_not_built_again(self, tmp_path, model):
        machine = Machine(tmp_path)
        first, second = machine.drive(model), machine.drive(model)
        assert machine.log.count("build") == 1
        assert (first["facts"]["built_now"], second["facts"]["built_now"]) == (True, False)
        assert first["facts"]["engine_sha256"] == second["facts"]["engine_sha256"]
        assert second["facts"]["build_s"] == first["facts"]["build_s"]
        assert not list((tmp_path / "tmp").iterdir())

    @pytest.mark.parametrize(
        "harm",
        ["flip", *(pytest.param(harm, marks=slow) for harm in ("cut", "no note", "odd note"))],
    )
    def test_but_built_again_when_damaged(self, tmp_path, model, harm):
        machine = Machine(tmp_path)
        machine.drive(model)
        plan, note = (next(model.parent.glob(f"engine-*.{end}")) for end in ("plan", "json"))
        raw = bytearray(plan.read_bytes())
        if harm == "flip":
            raw[len(raw) // 2] ^= 1
            plan.write_bytes(raw)
        elif harm == "cut":
            plan.write_bytes(raw[:-9])
        elif harm == "no note":
            note.unlink()
        else:
            note.write_text("[1]")
        data = inputs(1)
        got = machine.drive(model, data)
        assert machine.log.count("build") == 2
        assert got["features"].tobytes() == expected(model, data).tobytes()

    @slow
    def test_within_the_cache_that_is_bounded(self, tmp_path, model):
        from orchestrator.agents.storage import cleanup

        machine = Machine(tmp_path)
        machine.drive(model)
        assert list(model.parent.glob("engine-*.plan"))
        gone = cleanup.clean(str(tmp_path), "", cache_bytes=1)
        assert any(name.startswith("engine-") for name in gone)
        onnx_file(model)
        assert "error" not in machine.drive(model)
        assert machine.log.count("build") == 2

    @slow
    def test_one_for_each_gpu_version_file_and_option(self, tmp_path, model):
        machine = Machine(tmp_path)
        machine.drive(model)
        machine.drive(model, options={"workspace_mb": 100})
        Machine(tmp_path, env={"SHIM_GPU": "Orin"}).drive(model)
        Machine(tmp_path, "10.3.0").drive(model)
        other = onnx_file(model.parent / "other.onnx", quantized=False)
        machine.drive(other)
        assert machine.log.count("build") == 5
        assert len(list(model.parent.glob("engine-*.plan"))) == 5

    @slow
    def test_and_built_again_when_it_is_of_another_version_than_its_name(self, tmp_path, model):
        machine = Machine(tmp_path)
        machine.drive(model)
        plan, note = (next(model.parent.glob(f"engine-*.{end}")) for end in ("plan", "json"))
        foreign = b"FAKEPLAN" + json.dumps({"version": "8.5.2", "gpu": "Xavier"}).encode()
        plan.write_bytes(foreign)
        note.write_text(json.dumps({"engine_sha256": hashlib.sha256(foreign).hexdigest()}))
        got = machine.drive(model, inputs(1))
        assert "error" not in got
        assert machine.log.count("build") == 2


class TestErrors:
    @pytest.mark.parametrize(
        ("mode", "kind", "told"),
        [
            (
                "parse",
                "toolchain",
                r"parser refuses model.onnx: node 1 '' \(DequantizeLinear\): No",
            ),
            ("build-none", "toolchain", r"builds no engine: 10: Could not find any impl.*Conv_0"),
            ("build-memory", "board", r"out of memory\.; memory ran out on the board"),
            ("never-loads", "toolchain", r"does not load the engine that it has just built: Ser"),
            *(
                pytest.param(*case, marks=slow)
                for case in (
                    ("build-dies", "toolchain", r"builder was killed by signal 11 without a word"),
                    ("no-cuda", "board", r"makes no builder, does CUDA work here\? CUDA initializ"),
                    ("odd", "bug", r"building: KeyError: 'what nobody thought of'"),
                    ("no-int8", "toolchain", r"this GPU has no int8 arithmetic"),
                    ("no-context", "board", r"makes no execution context: Cuda error 2"),
                    ("int-output", "toolchain", r"'feature' is INT32, expected float32 or float16"),
                    ("import", "board", r"bindings do not load \(ImportError: libnvinfer.so.8: c"),
                )
            ),
        ],
    )
    def test_of_tensorrt(self, tmp_path, model, mode, kind, told):
        machine = Machine(tmp_path, settings={"mode": mode})
        got = machine.drive(model, inputs(1))
        assert got["kind"] == kind, got
        assert re.search(told, got["error"]), got["error"]
        assert got["live"] == [0, 0, 0]
        if mode not in ("never-loads", "no-context", "int-output"):
            assert not list(model.parent.glob("engine-*"))

    def test_an_engine_that_does_not_run(self, tmp_path, model):
        got = Machine(tmp_path, "8.4.1", settings={"mode": "run-fails"}).drive(model, inputs(1))
        assert (got["kind"], got["live"]) == ("transient", [0, 0, 0])

    @pytest.mark.parametrize(
        ("fail", "kind", "told"),
        [
            ("cudaMalloc:1:2", "board", "GPU's memory is full: cudaMalloc failed with 2: out of"),
            ("cudaStreamSynchronize:2:700", "transient", "an illegal memory access was encounter"),
            *(
                pytest.param(*case, marks=slow)
                for case in (
                    ("cudaMalloc:2:2", "board", "a Jetson shares it with its processor"),
                    ("cudaGetDeviceCount:1:100", "board", "no usable CUDA device: cudaGetDevice"),
                    ("cudaMemcpyAsync:1:700", "transient", "cudaMemcpyAsync failed with 700"),
                    ("cudaEventElapsedTime:1:999", "transient", "cudaEventElapsedTime failed"),
                    ("cudaEventCreate:2:999", "transient", "cudaEventCreate failed"),
                    ("cudaStreamCreate:1:999", "transient", "cudaStreamCreate failed"),
                )
            ),
        ],
    )
    def test_of_cuda(self, tmp_path, model, fail, kind, told):
        got = Machine(tmp_path, env={"SHIM_FAIL": fail}).drive(model, inputs(1))
        assert got["kind"] == kind, got
        assert told in got["error"]
        assert got["live"] == [0, 0, 0]

    def test_no_libcudart(self, tmp_path, model):
        got = Machine(tmp_path).drive(model, options={"library": "/nowhere/libcudart.so"})
        assert (got["kind"], got["code"]) == ("board", "no-runtime")
        assert "/nowhere/libcudart.so" in got["error"]

    @slow
    def test_a_library_that_is_not_cudas(self, tmp_path, model):
        got = Machine(tmp_path).drive(model, options={"library": "libc.so.6"})
        assert "libc.so.6 has no cuda" in got["error"]

    def test_neither_bindings_nor_program(self, tmp_path, model):
        got = Machine(tmp_path, bindings=False, env={"PATH": "/usr/bin:/bin"}).drive(model)
        assert (got["kind"], got["code"]) == ("board", "no-runtime")
        assert "has no module tensorrt, and there is no trtexec" in got["error"]
        assert "/usr/src/tensorrt/bin/trtexec" in got["error"]

    def test_the_deadline_of_a_build(self, tmp_path, model):
        machine = Machine(tmp_path, settings={"mode": "build-hangs"})
        got = machine.drive(model, options={"build_s": 1.3})
        assert (got["kind"], got["code"]) == ("user", "build-deadline")
        assert "took longer than 1.3 s (build_s)" in got["error"]
        assert """FARM_DEADLINES='{"build_s": 5}'""" in got["error"]
        doing, seconds, limit = got["told"][0]
        assert doing == "building the TensorRT engine"
        assert 1.0 <= seconds < limit == 1.3
        assert not list(model.parent.glob("engine-*"))
        # The builder is gone with what it started, and so is its folder.
        assert not list((tmp_path / "tmp").iterdir())

    def test_another_shape_and_another_output(self, tmp_path, model):
        wide = {**PREPROCESSING, "width": 9}
        got = Machine(tmp_path).drive(model, preprocessing=wide)
        assert got["kind"] == "user"
        assert "[1, 3, 8, 8]" in got["error"]
        got = Machine(tmp_path).drive(model, options={"output": "embedding"})
        assert "no output 'embedding', it has feature" in got["error"]

    @slow
    def test_options_out_of_bounds(self, tmp_path, model):
        got = Machine(tmp_path).drive(model, options={"workspace_mb": -1})
        assert (got["kind"], "workspace_mb is -1" in got["error"]) == ("user", True)


@slow
def test_layers_are_counted_where_the_engine_tells(tmp_path, model):
    got = Machine(tmp_path, settings={"mode": "layers"}).drive(model)
    assert got["facts"]["layers"] == {"Int8": 1, "Float": 1}
    assert "layers" not in Machine(tmp_path).drive(model)["facts"]


def test_probing_reads_the_version_without_importing(tmp_path, model):
    code = (
        f"import sys; sys.path.insert(0, {fake_tensorrt.HERE + '/../..'!r})\n"
        "from agents import runtimes; import json\n"
        "quick = runtimes.available().get('tensorrt'); assert 'tensorrt' not in sys.modules\n"
        "print(json.dumps([quick, runtimes.available(load=True).get('tensorrt')]))"
    )
    for mode, loaded in [
        ("", {"version": "8.6.1", "providers": ["bindings"]}),
        (
            "import",
            {
                "version": "8.6.1",
                "problem": "ImportError: libnvinfer.so.8: cannot open shared object file",
            },
        ),
    ]:
        machine = Machine(tmp_path, settings={"mode": mode})
        env = {**os.environ, **machine.environment()}
        told = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
        quick, full = json.loads(told.stdout)
        assert quick == {"version": "8.6.1", "providers": ["bindings"]}
        assert full == loaded


class TestTheFakeItself:
    """It must raise for what is not there, or the tests above show nothing."""

    def made(self, version, monkeypatch, tmp_path):
        from .gpu import shim

        monkeypatch.setenv("FAKE_CUDART", str(shim()))
        monkeypatch.setenv("FAKE_TENSORRT", json.dumps({"version": version}))
        return fake_tensorrt.module()

    def test_names_of_other_versions_raise(self, monkeypatch, tmp_path):
        trt = self.made("8.4.1", monkeypatch, tmp_path)
        with pytest.raises(AttributeError, match="has no 'TensorIOMode'"):
            _ = trt.TensorIOMode
        assert not hasattr(trt.Builder(None), "build_cuda_engine")
        with pytest.raises(NotImplementedError):
            _ = trt.Builder(None).max_batch_size
        config = self.made("10.3.0", monkeypatch, tmp_path).Builder(None).create_builder_config()
        with pytest.raises(AttributeError, match="max_workspace_size"):
            config.max_workspace_size = 1

    def test_the_lists_say_what_the_facts_say(self):
        old, new = (fake_tensorrt.names_of(version) for version in ("8.6.1", "10.3.0"))
        assert "execute_async_v2" in old["IExecutionContext"]
        assert "execute_async_v2" not in new["IExecutionContext"]
        assert {"num_io_tensors", "get_binding_index"} <= old["ICudaEngine"]
        assert "get_binding_index" not in new["ICudaEngine"]
        assert "EXPLICIT_BATCH" in new["NetworkDefinitionCreationFlag"]
        assert "num_io_tensors" not in fake_tensorrt.names_of("8.4.1")["ICudaEngine"]
        assert "set_memory_pool_limit" not in fake_tensorrt.names_of("8.2.1")["IBuilderConfig"]
