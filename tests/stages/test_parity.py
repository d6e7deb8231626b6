"""The parity gate finds the stage at which features break."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import onnxruntime
import pytest

from orchestrator.agents.host.arithmetic import exact_integers
from orchestrator.calibration import calibrate, preprocess
from orchestrator.errors import ToolchainError
from orchestrator.stages import parity
from orchestrator.toolchains import Scheme, make_twin
from tests.toolchains import nets

PREPROCESSING = {"layout": "NCHW", "colour": "RGB", "mean": 127.5, "std": 127.5}
UINT8 = Scheme("uint8", "per-tensor", "asymmetric", "minmax")


def pictures() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (6, nets.SIZE, nets.SIZE, 3), np.uint8)


@lru_cache
def twin() -> bytes:
    table = calibrate(nets.iresnet(), [preprocess(pictures())])
    return make_twin("tengine", nets.iresnet(), table, UINT8).data


def found(executed: np.ndarray, executed_by: str, quantized: bytes | None, same_file: bool) -> dict:
    made = parity.parity(
        nets.iresnet(),
        quantized and parity.StandIn(quantized),
        pictures(),
        executed,
        PREPROCESSING,
        executed_by,
        same_file,
    )
    return dict(made.facts)


def features(model: bytes) -> np.ndarray:
    return nets.run(model, preprocess(pictures()))


def test_the_way_from_float32_to_what_was_executed() -> None:
    facts = found(features(twin()), "twin", twin(), True)
    names = [stage["stage"] for stage in facts["stages"]]
    assert names == ["float32", "prepared", "twin", "executed by twin"]
    assert facts["warnings"] == []
    assert facts["images"] == 6
    assert facts["stages"][1]["to_previous"] == pytest.approx(1, abs=1e-6)
    assert 0.98 < facts["stages"][2]["to_float"] < 0.99999
    assert facts["stages"][3]["to_previous"] == pytest.approx(1, abs=1e-6)
    assert parity.summary(facts).startswith("float32 → prepared 1.00000 → twin 0.99")


def test_this_host_computes_a_file_as_the_board_on_it_did() -> None:
    """Integer kernels against float32 first, and then against what the board made by them."""
    session = onnxruntime.InferenceSession(twin(), providers=["CPUExecutionProvider"])
    inputs = preprocess(pictures())
    executed = np.concatenate([session.run(None, {"data": image[None]})[0] for image in inputs])
    file = parity.StandIn(twin(), integer_sums=True)
    made = parity.parity(nets.iresnet(), file, pictures(), executed, PREPROCESSING, "twin", True)
    names = [stage["stage"] for stage in made.facts["stages"]]
    integers = ["integers"] if exact_integers() else []
    assert names == ["float32", "prepared", "twin", *integers, "executed by twin"]
    assert made.facts["warnings"] == []
    if integers:
        assert made.facts["stages"][-1]["to_previous"] == pytest.approx(1, abs=1e-7)


def test_a_worker_without_such_kernels_blames_no_board_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parity, "exact_integers", lambda: False)
    slightly = features(twin())
    slightly[:, 0] += 0.02 * np.linalg.norm(slightly, axis=1)
    file = parity.StandIn(twin(), integer_sums=True)
    made = parity.parity(nets.iresnet(), file, pictures(), slightly, PREPROCESSING, "twin", True)
    assert made.facts["warnings"] == []


def test_integer_kernels_that_compute_something_else_are_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = parity._run

    def run(model: bytes, inputs: np.ndarray, *, integer_sums: bool = False) -> np.ndarray:
        return real(nets.iresnet(seed=4) if integer_sums else model, inputs)

    monkeypatch.setattr(parity, "_run", run)
    monkeypatch.setattr(parity, "exact_integers", lambda: True)
    executed = features(nets.iresnet(seed=4))
    file = parity.StandIn(twin(), integer_sums=True)
    made = parity.parity(nets.iresnet(), file, pictures(), executed, PREPROCESSING, "twin", True)
    (words,) = made.facts["warnings"]
    assert words.startswith("integer kernels differ from float32 on this host: mean cosine")
    assert "faithful: true" in words


def test_a_board_that_differs_from_its_twin_is_told_from_a_bad_quantization() -> None:
    noisy = features(twin()) + np.random.default_rng(0).normal(0, 1, (6, 32)).astype(np.float32)
    (words,) = found(noisy, "board", twin(), False)["warnings"]
    assert "what was executed differs from this host" in words
    slightly = features(twin())
    slightly[:, 0] += 0.02 * np.linalg.norm(slightly, axis=1)
    assert found(slightly, "board", twin(), False)["warnings"] == []
    # The very same file on this very host has no such excuse.
    (words,) = found(slightly, "twin", twin(), True)["warnings"]
    assert "expected 0.9999 or more" in words


@dataclass(frozen=True)
class Simulated(parity.Simulator):
    """A simulator whose features are known, or one that fails."""

    rows: np.ndarray | None = None

    def features(self, images: np.ndarray, preprocessing: Mapping[str, Any]) -> np.ndarray:
        if self.rows is None:
            raise ToolchainError("the toolkit is out of sorts")
        return self.rows


def held_against(rows: np.ndarray | None, executed: np.ndarray) -> dict:
    simulator = Simulated("rknn", None, b"", rows)
    made = parity.parity(
        *(nets.iresnet(), parity.StandIn(twin()), pictures(), executed, PREPROCESSING),
        *("board", False, simulator),
    )
    return dict(made.facts)


def test_a_simulator_between_twin_and_board_tells_which_of_the_two_differs() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (6, 32)).astype(np.float32)
    good, other = features(twin()), features(twin()) + noise
    names = [stage["stage"] for stage in held_against(good, good)["stages"]]
    assert names == ["float32", "prepared", "twin", "simulator", "executed by board"]
    assert held_against(good, good)["warnings"] == []
    (words,) = held_against(good, other)["warnings"]
    assert "what was executed differs from its simulator" in words
    (words,) = held_against(other, other)["warnings"]
    assert "the vendor's simulator differs from this host" in words
    facts = held_against(None, good)
    assert [stage["stage"] for stage in facts["stages"]][-2:] == ["twin", "executed by board"]
    assert facts["warnings"] == ["the simulator has no part in parity: the toolkit is out of sorts"]


def test_a_quantization_that_breaks_features_is_named() -> None:
    other = nets.iresnet(seed=4)
    (words,) = found(features(other), "emulated", other, True)["warnings"]
    assert "quantization breaks the features" in words


def test_float32_has_no_quantized_stage_and_failed_images_are_left_out() -> None:
    executed = features(nets.iresnet())
    executed[2] = 0
    facts = found(executed, "board", None, True)
    assert [s["stage"] for s in facts["stages"]] == ["float32", "prepared", "executed by board"]
    assert (facts["images"], facts["warnings"]) == (5, [])
    (words,) = found(np.zeros_like(executed), "board", None, True)["warnings"]
    assert "no probe image could be compared" in words


def test_another_processor_is_compared_under_its_own_name() -> None:
    same = features(twin())
    other = same.copy()
    other[2, 0] += 0.5
    there = parity.Processor("aarch64", "1.32.0")

    def compared(executed: np.ndarray) -> dict:
        made = parity.parity(
            *(nets.iresnet(), parity.StandIn(twin()), pictures(), executed, PREPROCESSING),
            *("twin", True),
            processor=there,
        )
        return dict(made.facts)

    assert compared(same)["stages"][-1]["stage"] == "processor aarch64"
    own = parity.two_processors(there, same, same)["processor"]
    assert (own["images"], own["bit_equal"]) == (6, 6)
    found = compared(other)["processor"]
    assert (found["machine"], found["version"]) == ("aarch64", "1.32.0")
    assert (found["images"], found["bit_equal"], found["worst_image"]) == (6, 5, 2)
    assert found["worst_cosine"] < found["mean_cosine"] < 1
    failed = same.copy()
    failed[0] = 0
    assert parity.two_processors(there, same, failed)["processor"]["images"] == 5
    assert "processor" not in found_without(same)


def found_without(executed: np.ndarray) -> dict:
    return found(executed, "twin", twin(), True)
