"""The V100 row: what the example plans, and what a GPU means for keys and words."""

from pathlib import Path

from orchestrator.planning.facts import BoardFacts
from orchestrator.preflight.planner import encoder_backend, make_plan
from orchestrator.request import Request
from orchestrator.specs.inventory import load_inventory

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "cuda-gpu"


def test_the_example_runs_on_cuda_and_never_by_default_on_the_cpu(tmp_path):
    plan = make_plan(
        Request(
            matrix=str(EXAMPLE / "matrix.yaml"),
            inventory=str(EXAMPLE / "device_inventory.yaml"),
            state=str(tmp_path / "state"),
            runs=str(tmp_path / "runs"),
        )
    )
    cells = {cell.name: cell for cell in plan.possible}
    assert set(cells) == {"this-host", "v100"}
    assert encoder_backend(cells["v100"].probe) == "onnxruntime (CUDA)"
    assert encoder_backend(cells["this-host"].probe) == "onnxruntime"
    step = next(step for step in plan.graph.steps.values() if step.id == "extract/v100/probe")
    assert step.params["options"]["providers"] == ["CUDAExecutionProvider"]


def inventory(tmp_path, boards):
    path = tmp_path / "device_inventory.yaml"
    path.write_text("boards:\n" + boards)
    return load_inventory(path).boards


def test_onnxruntime_on_a_card_means_cuda_wherever_it_is_asked_for(tmp_path):
    ssh = "{ssh: {host: gpu.lab, host_key: 'ssh-ed25519 AAAA'}}"
    boards = inventory(
        tmp_path,
        f"  - {{name: far, kind: cuda-gpu, transport: {ssh}}}\n"
        "  - {name: near, kind: cuda-gpu, transport: local}\n"
        "  - {name: meant, kind: cuda-gpu, transport: local,"
        " runtime: {name: onnxruntime, providers: [CPUExecutionProvider]}}\n"
        f"  - {{name: jetson, kind: jetson-xavier-nx, transport: {ssh}}}\n",
    )
    providers = [board.runtime_for("onnxruntime").providers[0] for board in boards]
    cuda, cpu = "CUDAExecutionProvider", "CPUExecutionProvider"
    assert providers == [cuda, cuda, cpu, cpu]
    assert boards[0].runtime.name == "tensorrt"
    assert [board.toolchain_for("auto") for board in boards] == [
        *("tensorrt", "onnxruntime", "onnxruntime", "tensorrt")
    ]


def test_what_a_gpu_computed_is_kept_under_the_gpu():
    runtimes = {"tensorrt": "8.4.1", "onnxruntime": "1.32"}
    facts = BoardFacts("aarch64", "ARMv8", "3.8.10", runtimes, gpu="tegra194 GPU")
    cpu = facts.runtime_identity("onnxruntime", ["CPUExecutionProvider"])
    assert cpu == {
        "runtime": "onnxruntime",
        "version": "1.32",
        "machine": "aarch64",
        "cpu": "ARMv8",
    }
    gpu = facts.runtime_identity("tensorrt", ["TensorRT"])
    assert (gpu["version"], gpu["gpu"], "cpu" in gpu) == ("8.4.1", "tegra194 GPU", False)
    assert facts.runtime_identity("onnxruntime", ["CUDAExecutionProvider"])["gpu"]
    assert BoardFacts.from_json(facts.to_json()) == facts
    old = {k: v for k, v in facts.to_json().items() if k != "gpu"}
    assert BoardFacts.from_json(old).gpu == ""
