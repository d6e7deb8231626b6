"""rknn: Rockchip's NPUs of the second generation, by rknn-toolkit2 in an environment of its own.

The toolkit's packages exclude farm's, so it runs as a subprocess: a request file in, a result file
out. It calibrates by itself from the images; mean and std become part of the file.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import environments
from orchestrator.errors import ToolchainError, UserError
from orchestrator.graphs.recipes import PREPARE
from orchestrator.graphs.scratch import scratch
from orchestrator.hashing import sha256_bytes
from orchestrator.installed import installed
from orchestrator.toolchains import rknn_files, vendor_rules
from orchestrator.toolchains.base import Artifact, Calibrator, Capabilities, Conversion, Scheme
from orchestrator.toolchains.descriptor import Descriptor
from orchestrator.toolchains.process import ToolRun, converting, require_artifact, run_tool
from orchestrator.toolchains.quantizing import manifest, require_offered
from orchestrator.toolchains.rule_twin import Axes, RuleTwin
from orchestrator.toolchains.vendor_rules import VendorRule

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from orchestrator.calibration.table import CalibrationTable

# Raised when the request, and so the artifact, may differ for the same inputs.
RECIPE = 1
NAME = "rknn"
PACKAGE = "rknn-toolkit2"

# Our word for what their `quantized_algorithm` does. `normal` is the extremes of what was seen.
ALGORITHMS: dict[Calibrator, str] = {"minmax": "normal", "entropy": "kl_divergence", "mmse": "mmse"}
SAMPLE, FEATURES = "check.npy", "features.npy"
METHODS = {"per-channel": "channel", "per-tensor": "layer"}

_CHECKED = 4  # calibration images on which the built model is held against float32
# Below this the file does not compute this model at all; what a scheme costs is for the table.
_LOWEST_COSINE = 0.5
_DEADLINE, _MMSE_DEADLINE = 1800.0, 14400.0

# RKNN-Toolkit2, `w8a8` (closed): activations int8 (max - min) / 255 with 0 included and the zero
# point rounded; weights int8, max|w| / 127, one scale an output channel (`channel`) or a tensor
# (`layer`). Assumed: int32 biases, PReLU slopes in float16, every operator int8.
CHANNEL_RULE = VendorRule(
    name="RKNN 2",
    dtype="int8",
    activation=vendor_rules.rounded_int8,
    weight=vendor_rules.symmetric_int8,
    per_channel=True,
    pass_through=vendor_rules.PASS_THROUGH,
    facts=(
        "w8a8: asymmetric int8 activations, symmetric weights",
        "closed toolkit: biases, PReLU and requantization are assumptions",
    ),
)
LAYER_RULE = replace(CHANNEL_RULE, per_channel=False)


class RknnToolchain:
    """float32 ONNX with its scheme, then a `.rknn` file by rknn-toolkit2."""

    name = NAME
    capabilities = Capabilities(
        schemes=(("int8", "per-channel", "asymmetric"), ("int8", "per-tensor", "asymmetric")),
        float_types=("float16",),
        calibrators=("minmax", "entropy", "mmse"),
        opset=13,
        ir=7,
        needs=(PACKAGE,),
        # Accepted by `config` of 2.5.0. RV1126, RV1109, RK1808 and RK3399Pro are rejected there:
        # they are the 1.x toolkit's. RV1126B is another chip than RV1126.
        targets=(
            *("rk3588", "rk3576", "rk3566", "rk3568", "rk3562"),
            *("rv1103", "rv1103b", "rv1106", "rv1106b", "rv1126b", "rk2118"),
        ),
        calibrates=True,
        simulator="rknn_simulator",
        keeps_float=False,
        refuses_qdq="",
    )
    install = "farm toolchain install rknn"

    def __init__(self) -> None:
        self._environment = environments.find(NAME)

    @classmethod
    def within(cls, environment: environments.Environment) -> RknnToolchain:
        """The toolchain in a given environment, which need not be finished."""
        toolchain = cls()
        toolchain._environment = environment
        return toolchain

    def version(self) -> str:
        """The toolkit's version and our recipes."""
        return f"{self.toolkit()}, onnx {installed('onnx')}, recipe {PREPARE}.{RECIPE}"

    def toolkit(self) -> str:
        """`rknn-toolkit2 2.5.0`."""
        if self._environment is None:
            return f"{PACKAGE} not installed"
        return f"{PACKAGE} {self._environment.packages.get(PACKAGE, 'of unknown version')}"

    def missing(self) -> tuple[str, ...]:
        """The toolkit, when there is no environment with it."""
        return () if self._environment else (PACKAGE,)

    def quantize(self, model: bytes, table: CalibrationTable | None, scheme: Scheme) -> Artifact:
        """See `Toolchain.quantize`: the float32 model and what is to become of it."""
        require_offered(self, scheme)
        require_no_float_layers(self.name, scheme)
        make = rknn_files.given_model if scheme.is_given else rknn_files.float_model
        data = make(model, scheme, self.capabilities.opset, self.capabilities.ir)
        return Artifact(data, "onnx", manifest(self, model, None, scheme, data))

    def convert(self, quantized: bytes, conversion: Conversion | None = None) -> Artifact:
        """See `Toolchain.convert`: runs the toolkit, or packs what its simulator needs."""
        from orchestrator.graphs import edit

        proto = edit.load(quantized, "the file to convert")
        scheme = rknn_files.scheme_of(proto, self.name)
        wanted = require_target(self, conversion)
        images = rknn_files.calibration_images(wanted, scheme, self.name)
        job = rknn_files.job(quantized, _calls(scheme, wanted), 2, images)
        facts = {
            "toolchain": self.name,
            "version": self.version(),
            "target": wanted.target,
            **rknn_files.interface(proto),
            "calibration": calibration_facts(self.toolkit(), scheme, wanted, ALGORITHMS),
        }
        if self._environment is None:
            raise ToolchainError(f"{PACKAGE} is not installed", self.install)
        if wanted.simulate:
            return Artifact(job.bundle(), "rknnsim", {**facts, "executed_by": "simulator"})
        data, about = self._run(job, proto, scheme, wanted)
        return Artifact(data, "rknn", {**facts, **about})

    def _run(
        self, job: rknn_files.Job, proto: onnx.ModelProto, scheme: Scheme, wanted: Conversion
    ) -> tuple[bytes, dict[str, Any]]:
        deadline = _MMSE_DEADLINE if scheme.calibrator == "mmse" else _DEADLINE
        with scratch() as folder:
            sample = _sample(proto, wanted)
            run, result = self._tool(folder, job, sample, proto, wanted.target, deadline)
            data = require_artifact(
                folder / rknn_files.OUTPUT, run, at_least=1024, tool=self.toolkit()
            )
            check_file(data, proto, wanted.target, run)
            if sha256_bytes(data) != result["sha256"]:
                raise ToolchainError(
                    f"{self.toolkit()} changed {rknn_files.OUTPUT} after it had written it",
                    f"to repeat it by hand: {run.command}",
                )
            cosine = _held_against_float(folder, proto, wanted, sample, run)
        return data, {
            "seconds": {call["name"]: call["seconds"] for call in result["calls"]},
            "simulator_cosine": cosine,
            "layers_off_npu": rknn_files.layers_off_npu(run.log),
        }

    def simulate(self, bundle: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Simulating.simulate`."""
        import numpy as np

        from orchestrator.graphs import edit

        if self._environment is None:
            raise ToolchainError(f"{PACKAGE} is not installed", self.install)
        packed = rknn_files.Job.of(bundle)
        request = {key: value for key, value in packed.request.items() if key != "output"}
        proto = edit.load(packed.files[rknn_files.MODEL], "the bundle's model")
        target = str(request["config"]["target_platform"])
        job = rknn_files.Job(request, packed.files)
        with scratch() as folder:
            self._tool(folder, job, images, proto, target, _MMSE_DEADLINE)
            features: NDArray[np.float32] = np.load(folder / FEATURES, allow_pickle=False)
        return features

    def _tool(
        self,
        folder: Path,
        job: rknn_files.Job,
        sample: NDArray[np.uint8],
        proto: onnx.ModelProto,
        target: str,
        deadline: float,
    ) -> tuple[ToolRun, dict[str, Any]]:
        """Do a job in a folder; the simulator's features of the sample are in `FEATURES` then."""
        import numpy as np

        assert self._environment is not None
        for name, content in job.files.items():
            (folder / name).write_bytes(content)
        np.save(folder / SAMPLE, sample)
        request = {**job.request, "check": {"images": SAMPLE, "features": FEATURES}}
        (folder / rknn_files.REQUEST).write_text(json.dumps(request, indent=1, sort_keys=True))
        words = [self._environment.python, rknn_files.TOOL]
        words += [rknn_files.REQUEST, rknn_files.RESULT]
        with converting(deadline) as seconds:
            run = run_tool(words, folder=folder, deadline=seconds, environment=CLEAN)
        result = folder / rknn_files.RESULT
        said = result.read_bytes() if result.is_file() else b""
        return run, read_result(said, run, proto, self.toolkit(), target)


# Nothing of the user's may shadow the environment's packages.
CLEAN = {"PYTHONPATH": "", "PYTHONNOUSERSITE": "1", "PYTHONHASHSEED": "0"}


def _calls(scheme: Scheme, wanted: Conversion) -> dict[str, Any]:
    config: dict[str, Any] = {
        **rknn_files.normalization(wanted),
        "target_platform": wanted.target,
        "optimization_level": 3,
    }
    if scheme.is_float or scheme.is_given:  # a given file's pairs say themselves what is int8
        return {"config": {**config, "float_dtype": "float16"}, "build": {"do_quantization": False}}
    assert scheme.calibrator is not None
    assert scheme.granularity is not None
    config |= {
        "quantized_dtype": "w8a8",
        "quantized_algorithm": ALGORITHMS[scheme.calibrator],
        "quantized_method": METHODS[scheme.granularity],
    }
    return {"config": config, "build": {"do_quantization": True}}


def require_no_float_layers(toolchain: str, scheme: Scheme) -> None:
    """Raise UserError when a scheme keeps layers in float32."""
    if scheme.keep_float:
        raise UserError(
            f"keep_float names {', '.join(scheme.keep_float)}, which toolchain '{toolchain}' "
            "does not offer",
            f"leave keep_float empty for {toolchain}",
        )


def require_target(toolchain: Any, conversion: Conversion | None) -> Conversion:
    """The conversion, whose target is one that the toolchain has.

    Raises:
        UserError: there is none, or it has it not.
    """
    offered = toolchain.capabilities.targets
    if conversion is None or conversion.target not in offered:
        given = (
            f"not for {conversion.target!r}" if conversion and conversion.target else "none given"
        )
        raise UserError(
            f"toolchain '{toolchain.name}' makes files for one processor at a time, {given}",
            f"it knows: {', '.join(offered)}",
        )
    return conversion


def calibration_facts(
    toolkit: str, scheme: Scheme, wanted: Conversion, algorithms: dict[Calibrator, str]
) -> dict[str, Any] | None:
    """Who calibrated, and how: the vendor's tool, not farm."""
    import numpy as np

    if scheme.is_float or scheme.calibrator is None or wanted.images is None:
        return None
    return {
        "by": toolkit,
        "algorithm": algorithms[scheme.calibrator],
        "images": len(wanted.images),
        "calibration_set": sha256_bytes(np.ascontiguousarray(wanted.images).tobytes()),
    }


def read_result(
    answer: bytes, run: ToolRun, proto: onnx.ModelProto, toolkit: str, target: str
) -> dict[str, Any]:
    """What the script says it did.

    Args:
        answer: the result file; empty when there is none.

    Raises:
        ToolchainError: it says that it failed, or says nothing: with the toolkit's own words, the
            nodes that they name and the command to repeat.
    """
    try:
        result: dict[str, Any] = json.loads(answer)
    except ValueError:
        ended = f"ended with exit code {run.returncode} and left no {rknn_files.RESULT}"
        result = {"ok": False, "error": ended, "calls": []}
    if result["ok"]:
        return result
    words = rknn_files.complaint(result, run.log)
    nodes = rknn_files.named_nodes(words, proto)
    where = f" at {', '.join(nodes[:3])}" if nodes else ""
    raise ToolchainError(
        f"{toolkit} failed for {target}{where}: {words}", f"to repeat it by hand: {run.command}"
    )


def check_file(data: bytes, proto: onnx.ModelProto, target: str, run: ToolRun) -> None:
    """Raise ToolchainError unless a file is for this model and target."""
    from orchestrator.graphs.describe import describe_proto

    info = describe_proto(proto)
    found = rknn_files.read_rknn(data)
    wants = (1, *info.image_shape)
    if target not in found.targets or wants not in found.inputs:
        raise ToolchainError(
            f"{rknn_files.OUTPUT} is for {', '.join(found.targets)} with inputs "
            f"{list(found.inputs)}, expected {target} with {list(wants)}",
            f"to repeat it by hand: {run.command}",
        )


def _sample(proto: onnx.ModelProto, wanted: Conversion) -> NDArray[np.uint8]:
    """Images on which the built model is tried, channels in the model's order."""
    import numpy as np

    from orchestrator.graphs.describe import describe_proto

    if wanted.images is None:
        _, height, width = describe_proto(proto).image_shape
        noise = np.random.default_rng(0).integers(0, 256, (_CHECKED, height, width, 3))
        return noise.astype(np.uint8)
    chosen = wanted.images[list(rknn_files.spread(len(wanted.images), _CHECKED))]
    swapped = chosen[..., ::-1] if wanted.preprocessing["colour"] == "BGR" else chosen
    return np.ascontiguousarray(swapped)


def _held_against_float(
    folder: Path,
    proto: onnx.ModelProto,
    wanted: Conversion,
    sample: NDArray[np.uint8],
    run: ToolRun,
) -> float:
    """Mean cosine of the simulator's features to float32's, over a few images."""
    import numpy as np

    from orchestrator.calibration import preprocess
    from orchestrator.graphs import edit
    from orchestrator.graphs.sessions import faithful_session, joined

    session = faithful_session(edit.dump(proto))
    name = session.get_inputs()[0].name
    # The sample's channels are in the model's order already.
    ready = preprocess(sample, mean=wanted.preprocessing["mean"], std=wanted.preprocessing["std"])
    exact = np.stack([joined(session.run(None, {name: image[None]})) for image in ready])
    features = np.load(folder / FEATURES, allow_pickle=False)
    shape = features.shape
    cosine = float("nan")
    if shape == exact.shape:
        cosine = float(rknn_files.cosines(features, exact).mean())
    if not cosine >= _LOWEST_COSINE:
        raise ToolchainError(
            f"what rknn-toolkit2 built does not compute this model: its simulator's features "
            f"{list(shape)} have a mean cosine of {cosine:.3f} to float32's {list(exact.shape)}",
            f"to repeat it by hand: {run.command}",
        )
    return round(cosine, 6)


def _twin() -> RuleTwin:
    rules: dict[Axes, VendorRule] = {
        ("int8", "per-channel", "asymmetric"): CHANNEL_RULE,
        ("int8", "per-tensor", "asymmetric"): LAYER_RULE,
    }
    # Without quantization RKNN computes in float16, of which there is no twin.
    return RuleTwin(NAME, RknnToolchain.capabilities, rules, CHANNEL_RULE.name)


DESCRIPTOR = Descriptor("RKNN", RknnToolchain, _twin, CHANNEL_RULE.name)
