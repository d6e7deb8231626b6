"""parity: where a difference between float32 and a board appears, on a few fixed probe images.

float32, prepared and quantized are computed here; what the board made is compared with them. A
break is a warning in the row, not an error: the row says what was measured, the warning that it
may not mean what it seems to. (float32 to prepared is an error much earlier: `prepare` refuses.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.agents.host.arithmetic import exact_integers
from orchestrator.errors import ToolchainError, TransientError
from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.stages import deployable, image_rows
from orchestrator.stages.quantize import chain_of, inputs_of
from orchestrator.stages.score import stored_features
from orchestrator.stages.stage import Stage
from orchestrator.stages.stage_output import StageOutput
from orchestrator.stages.work import Work

if TYPE_CHECKING:
    from orchestrator.calibration import StageParity

IMAGES = 16
INTEGERS = "integers"  # the same file by integer kernels

# Mean cosine to float32 below which quantization itself broke the features. Sound schemes of
# trained nets keep 0.99, of untrained ones 0.97.
QUANTIZED_LOWEST = 0.95
# Lowest cosine between two computations of one file by onnxruntime on this host.
SAME_LOWEST = 0.9999
# Mean cosine between a board and this host. Sums in another order flip a last bit here and there,
# which spreads: 0.99 was seen between faithful evaluations of one file.
BOARD_LOWEST = 0.95


@dataclass(frozen=True)
class Simulator:
    """A vendor's simulator and what it executes.

    Attributes:
        toolchain, options: whose it is.
        bundle: what `convert` made for it.
    """

    toolchain: str
    options: Mapping[str, Any] | None
    bundle: bytes

    def features(
        self, images: NDArray[np.uint8], preprocessing: Mapping[str, Any]
    ) -> NDArray[np.float32]:
        """float32 (n, embedding) of RGB images.

        Raises:
            ToolchainError, TransientError: the vendor's tool failed, or did not end.
        """
        swapped = images[..., ::-1] if preprocessing["colour"] == "BGR" else images
        chain = chain_of(self.toolchain, False, self.options)
        simulated: NDArray[np.float32] = chain.simulate(self.bundle, np.ascontiguousarray(swapped))
        return simulated


@dataclass(frozen=True)
class StandIn:
    """The ONNX file that stands for the artifact on this host.

    Attributes:
        file: the artifact itself, or the twin of what the board runs.
        integer_sums: whether integer kernels computed it where it was executed, if they are exact.
    """

    file: bytes
    integer_sums: bool = False


@dataclass(frozen=True)
class Processor:
    """Another processor that executed.

    Attributes:
        machine: as `uname -m` prints it there.
        version: of its onnxruntime.
    """

    machine: str
    version: str


def run(work: Work) -> StageOutput:
    """Compare in a Ray worker."""
    step, pictures = work.step, work.input("images")
    count = min(IMAGES, image_rows.count(pictures))
    ids = image_rows.read_rows(pictures.read(image_rows.ROWS))
    features = stored_features(work.input("features").folder, ids)
    return work.services.compute.run(
        parity,
        work.model(),
        _stand_in(work),
        np.load(pictures.verify(image_rows.FILE), mmap_mode="r")[:count],
        np.array(features.rows[:count]),
        step.params["preprocessing"],
        step.params["executed_by"],
        step.params["same_file"],
        _simulator(work),
        step.params.get("emulator", False),
        _processor(work),
    )


def _stand_in(work: Work) -> StandIn | None:
    if not work.has("quantized"):
        return None
    held = work.input("quantized")
    source = work.services.plan.graph.steps[work.step.inputs["features"]]
    sums = deployable.read_interface(held.read(deployable.INTERFACE)).integer_sums
    # A board runs another file, another processor's agent does not fuse.
    here = work.step.params["same_file"] and "machine" not in work.step.params
    fused = here and source.params["options"]["faithful"] is not True
    return StandIn(held.read(deployable.FILE), bool(sums) and fused)


def _processor(work: Work) -> Processor | None:
    """The processor that executed, where an emulated board has another than this host."""
    name = work.step.params.get("machine")
    if not name:
        return None
    source = work.services.plan.graph.steps[work.step.inputs["features"]]
    runtime = source.params["runtime"] or {}
    return Processor(name, str(runtime.get("version") or ""))


def _simulator(work: Work) -> Simulator | None:
    if not work.has("simulator"):
        return None
    source = work.services.plan.graph.steps[work.step.inputs["simulator"]]
    name, _, options = work.tools(source)
    return Simulator(name, options, work.input("simulator").read(deployable.FILE))


def parity(
    model: bytes,
    quantized: StandIn | None,
    images: NDArray[np.uint8],
    executed: NDArray[np.float32],
    preprocessing: Mapping[str, Any],
    executed_by: str,
    same_file: bool,
    simulator: Simulator | None = None,
    emulator: bool = False,
    processor: Processor | None = None,
) -> StageOutput:
    """Compare features along the way from float32 to what was executed.

    Args:
        model: the float32 ONNX file.
        quantized: None where there is no twin, and for float32.
        images: uint8 (n, height, width, 3), the first of the probes.
        executed: float32 (n, embedding), what was made of them where the row was executed.
        preprocessing: the model manifest's `input`.
        executed_by: what made `executed`.
        same_file: whether `quantized` (or float32) is the very file that was executed.
        simulator: the vendor's, which stands between this host and a board.
        emulator: whether an emulator of another processor executed.
        processor: what executed, where an emulated board has another processor than this host;
            the last stage is then called `processor`.
    """
    from orchestrator import calibration

    itself = same_file and executed_by != "twin"
    inputs = inputs_of(images, preprocessing)
    stages = _on_this_host(model, quantized, inputs, "quantized" if itself else "twin")
    lacking = []
    if simulator is not None:
        try:
            stages.append(("simulator", simulator.features(images, preprocessing)))
        except (ToolchainError, TransientError) as error:
            lacking.append(f"the simulator has no part in parity: {error.message}")
    here_last = stages[-1][1]
    last = f"processor {processor.machine}" if processor else f"executed by {executed_by}"
    stages.append((last, executed))
    # A row whose image failed has no direction to compare.
    good = np.linalg.norm(executed, axis=1) > 0
    found = calibration.parity((name, rows[good]) for name, rows in stages) if good.any() else ()
    here = same_file and executed_by in ("emulated", "twin") and not (emulator or processor)
    if quantized is not None and quantized.integer_sums and not exact_integers():
        here = False  # this worker's processor is not the one that executed
    two = two_processors(processor, here_last, executed) if processor and same_file else {}
    return StageOutput(
        {},
        {
            "images": int(good.sum()),
            "stages": [asdict(stage) for stage in found],
            "warnings": [*_warnings(found, here), *lacking],
            **two,
        },
        {"images": IMAGES},
    )


def _on_this_host(
    model: bytes, quantized: StandIn | None, inputs: NDArray[np.float32], what: str
) -> list[tuple[str, NDArray[np.float32]]]:
    """Stages and their features, from float32 to `what`, by integer kernels last."""
    from orchestrator.graphs.prepare import prepare

    stages = [("float32", _run(model, inputs)), ("prepared", _run(prepare(model), inputs))]
    if quantized is not None:
        stages.append((what, _run(quantized.file, inputs)))
        if quantized.integer_sums and exact_integers():
            stages.append((INTEGERS, _run(quantized.file, inputs, integer_sums=True)))
    return stages


def two_processors(
    processor: Processor, here: NDArray[np.float32], there: NDArray[np.float32]
) -> dict[str, dict[str, Any]]:
    """Features that two processors made of the same images with one file.

    Args:
        processor: the other one.
        here, there: float32 (n, embedding); a row of zeros is of an image that failed.

    Returns:
        under `processor` its own fields, onnxruntime's `version_here`, the `images` compared, how
        many are `bit_equal`, `mean_cosine`, `worst_cosine` and the place of the `worst_image` among
        the probes; without images no cosines.
    """
    import onnxruntime

    good = np.flatnonzero(np.linalg.norm(there, axis=1) > 0)
    about = asdict(processor) | {"version_here": str(onnxruntime.__version__)}
    if not len(good):
        return {"processor": about | {"images": 0, "bit_equal": 0}}
    a, b = here[good].astype(np.float64), there[good].astype(np.float64)
    cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    equal = [here[i].tobytes() == there[i].tobytes() for i in good]
    worst = int(cosine.argmin())
    compared = {
        "images": len(good),
        "bit_equal": int(sum(equal)),
        "mean_cosine": float(cosine.mean()),
        "worst_cosine": float(cosine[worst]),
        "worst_image": int(good[worst]),
    }
    return {"processor": about | compared}


def summary(facts: Mapping[str, Any]) -> str:
    """The way in one line: each stage with its mean cosine to the one before."""
    steps = [f"{s['stage']} {s['to_previous']:.5f}" for s in facts["stages"][1:]]
    return " → ".join(["float32", *steps])


def _warnings(found: Sequence[StageParity], here: bool) -> list[str]:
    if not found:
        return ["no probe image could be compared with float32: all of the first ones failed"]
    words = []
    for stage, before in zip(found[2:], found[1:], strict=False):
        last = stage is found[-1]
        lowest = SAME_LOWEST if last and here else BOARD_LOWEST
        cosine = f"mean cosine {stage.to_previous:.4f} to {before.stage}"
        differs = f"{cosine}, expected {lowest} or more"
        if stage.stage in ("quantized", "twin"):
            if stage.to_float < QUANTIZED_LOWEST:
                words.append(
                    f"quantization breaks the features: mean cosine {stage.to_float:.3f} to "
                    "float32 on this host already; see `farm explain`"
                )
        elif stage.to_previous >= lowest:
            continue
        elif stage.stage == INTEGERS:
            words.append(
                f"integer kernels differ from float32 on this host: {differs}; set `runtime: "
                "{faithful: true}` for the board, and please report it"
            )
        elif last:
            against = "its simulator" if before.stage == "simulator" else "this host"
            words.append(
                f"what was executed differs from {against}: {differs}; look at preprocessing, "
                "runtime and driver of the board"
            )
        else:
            words.append(
                f"the vendor's simulator differs from this host: {differs}; look at what the "
                "vendor's tool made of the model"
            )
    return words


def _run(
    model: bytes, inputs: NDArray[np.float32], *, integer_sums: bool = False
) -> NDArray[np.float32]:
    from orchestrator.graphs.sessions import faithful_session, joined

    session = faithful_session(model, threads=1, integer_sums=integer_sums)
    name = session.get_inputs()[0].name
    rows = [joined(session.run(None, {name: image[None]})) for image in inputs]
    return np.stack(rows).astype(np.float32)


STAGE = Stage(
    STAGE_FACTS["parity"],
    ("images", "features"),
    run,
    summary,
    sometimes=("quantized", "simulator"),
)
