"""Tengine (A311D, i.MX 8M Plus through TIM-VX): uint8 tmfiles by the user's own tools.

`convert_tool` and `quant_tool_uint8` are on no registry; the user names the folder they are in.
The scales are ours: quant_tool_uint8 given a scale file (`-f`) skips its own calibration, so
the same table serves Tengine as every other vendor, with more digits than its own `%f`.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ToolchainError, UserError
from orchestrator.graphs.recipes import PREPARE, TWIN
from orchestrator.graphs.scratch import scratch
from orchestrator.installed import installed
from orchestrator.toolchains import vendor_rules
from orchestrator.toolchains.base import Artifact, Capabilities, Conversion, Scheme
from orchestrator.toolchains.descriptor import Descriptor
from orchestrator.toolchains.process import converting, require_artifact, run_tool
from orchestrator.toolchains.quantizing import manifest, require_allowed, require_offered
from orchestrator.toolchains.rule_twin import Axes, RuleTwin
from orchestrator.toolchains.vendor_rules import VendorRule

if TYPE_CHECKING:
    from orchestrator.calibration.table import CalibrationTable

# Raised when what is handed to the tools may differ for the same inputs.
RECIPE = 1

BIN_DIR_VARIABLE = "FARM_TENGINE_BIN_DIR"
CONVERT, QUANTIZE = "convert_tool", "quant_tool_uint8"

_SCALES = "farm.tengine.scales"
_DEADLINE = 900.0

# Tengine (OAID/Tengine, tools/quantize/quant_tool_uint8.cpp and quant_save_graph.cpp, read):
# activations scale = (max - min) / 255 with 0 included, zero point = int(-min / scale), cut
# off, not rounded; weights one scale a tensor, (max - min) / 255, 0 **not** included; biases
# int32 = roundf(b / (s_in * s_w)); PReLU slopes float16 (for TIM-VX); every operator takes and
# gives uint8, its arithmetic is float between (reference kernels). Max pooling, ReLU, Flatten
# and Reshape pass their output's scale on to an input that nothing else reads. Measured against
# Tengine's own library (CPU, uint8, the default model, 32 rendered faces): mean cosine of the
# twin's features to the library's 0.9993, least 0.9972.
RULE = VendorRule(
    name="Tengine",
    dtype="uint8",
    activation=vendor_rules.tengine_activation,
    weight=vendor_rules.tengine_weight,
    per_channel=False,
    pass_through=vendor_rules.PASS_THROUGH,
    facts=(
        "scales, zero points, int32 biases and float16 PReLU slopes by Tengine's source",
        "requantization in float32 as in its reference kernels; the NPU's is not public",
    ),
    caller_quantizes=True,
)


class TengineToolchain:
    """fp32 ONNX and a scale file, then a tmfile by Tengine's tools.

    Args:
        bin_dir: folder with convert_tool and quant_tool_uint8; the variable
            FARM_TENGINE_BIN_DIR otherwise.
    """

    name = "tengine"
    capabilities = Capabilities(
        schemes=(("uint8", "per-tensor", "asymmetric"),),
        float_types=("float32",),
        calibrators=("minmax", "percentile", "entropy"),
        opset=11,
        ir=6,
        needs=(CONVERT, QUANTIZE),
        # Not in TIM-VX's list (timvx_limit.hpp): Tengine would run them on the CPU, and a
        # CPU's time is never reported as the NPU's.
        forbidden=("MatMul", "ReduceMean", "Squeeze"),
        keeps_float=False,
        refuses_qdq=(
            "takes no file that is quantized already: its tool quantizes the float32 model, with "
            "a scale for each tensor"
        ),
    )
    # What fixes `missing`.
    install = (
        "build Tengine's tools (with TENGINE_ONLINE_REPORT=OFF: it reports to its vendor "
        f"otherwise) and name their folder: {BIN_DIR_VARIABLE}=/folder/with/{CONVERT}"
    )

    def __init__(self, bin_dir: str | None = None) -> None:
        self._bin_dir = bin_dir or os.environ.get(BIN_DIR_VARIABLE)

    def version(self) -> str:
        """Our recipe and the tools' own bytes: they print no version worth trusting."""
        tools = "not installed"
        if self._bin_dir and not self.missing():
            digest = hashlib.sha256()
            for tool in (CONVERT, QUANTIZE):
                digest.update((Path(self._bin_dir) / tool).read_bytes())
            tools = digest.hexdigest()[:12]
        return f"tengine tools {tools}, onnx {installed('onnx')}, recipe {PREPARE}.{TWIN}.{RECIPE}"

    def missing(self) -> tuple[str, ...]:
        """The tools that are not there."""
        folder = Path(self._bin_dir) if self._bin_dir else None
        return tuple(
            tool
            for tool in (CONVERT, QUANTIZE)
            if folder is None or not os.access(folder / tool, os.X_OK)
        )

    def quantize(self, model: bytes, table: CalibrationTable | None, scheme: Scheme) -> Artifact:
        """See `Toolchain.quantize`: float32 ONNX that carries its scale file."""
        import onnx

        from orchestrator.graphs import edit, prepare, stamp

        require_offered(self, scheme)
        if scheme.keep_float:
            raise UserError(
                f"keep_float names {', '.join(scheme.keep_float)}, but Tengine's uint8 files "
                "have no float layers",
                "leave keep_float empty for tengine",
            )
        prepared = prepare.prepare(model)
        require_allowed(self, prepared)
        proto = stamp.set_opset(onnx.ModelProto.FromString(prepared), self.capabilities.opset)
        proto.ir_version = self.capabilities.ir
        stamp.freeze_batch(proto, 1)
        if not scheme.is_float:
            text = scale_file(prepared, table, scheme)
            onnx.helper.set_model_props(proto, {_SCALES: text})
        data = edit.dump(proto)
        return Artifact(data, "onnx", manifest(self, model, table, scheme, data))

    def convert(self, quantized: bytes, conversion: Conversion | None = None) -> Artifact:
        """See `Toolchain.convert`: runs the user's tools."""
        from orchestrator.graphs import edit
        from orchestrator.graphs.describe import describe_proto
        from orchestrator.toolchains import finish

        proto = edit.load(quantized, "the file to convert")
        scales = next((p.value for p in proto.metadata_props if p.key == _SCALES), None)
        gone = self.missing()
        if gone:
            raise ToolchainError(
                f"Tengine's {' and '.join(gone)} not found in "
                f"{self._bin_dir or 'any folder: none was named'}",
                f"name the folder with {CONVERT} and {QUANTIZE}: toolchain option bin_dir or "
                f"the variable {BIN_DIR_VARIABLE}",
            )
        _, height, width = describe_proto(proto).image_shape
        # Names are fixed and relative, so that the command can be repeated and keys stay equal.
        with scratch() as folder:
            (folder / "model.onnx").write_bytes(quantized)
            data = self._float_file(folder, len(quantized))
            if scales is not None:
                data = self._uint8_file(folder, scales, height, width, len(data))
        facts = {
            "toolchain": self.name,
            "version": self.version(),
            **finish.onnx_facts(quantized),
            "precision": "float32" if scales is None else "uint8",
        }
        if scales is not None:
            for end in ("input", "output"):
                facts[end] = facts[end] | _quantized(facts[end]["name"], scales)
            if "outputs" in facts:
                each = facts["outputs"]
                facts["outputs"] = [one | _quantized(one["name"], scales) for one in each]
        return Artifact(data, "tmfile", facts)

    def _float_file(self, folder: Path, size: int) -> bytes:
        assert self._bin_dir is not None
        target = folder / "float.tmfile"
        arguments = ["-f", "onnx", "-m", "model.onnx", "-o", target.name]
        tool = Path(self._bin_dir).absolute() / CONVERT
        with converting(_DEADLINE) as seconds:
            run = run_tool([tool, *arguments], folder=folder, deadline=seconds)
        # The weights are stored as they are: a file much smaller is not whole.
        return require_artifact(target, run, at_least=size // 2, tool=CONVERT)

    def _uint8_file(
        self, folder: Path, scales: str, height: int, width: int, float_size: int
    ) -> bytes:
        assert self._bin_dir is not None
        (folder / "ours.scale").write_text(scales)
        (folder / "unused").mkdir()  # -i must be given; with -f it is not read
        target = folder / "uint8.tmfile"
        arguments = quantize_arguments(height, width, target.name)
        tool = Path(self._bin_dir).absolute() / QUANTIZE
        with converting(_DEADLINE) as seconds:
            run = run_tool([tool, *arguments], folder=folder, deadline=seconds)
        data = require_artifact(target, run, at_least=float_size // 8, tool=QUANTIZE)
        if "Step 6, save" not in run.log:
            raise ToolchainError(
                f"{QUANTIZE} ended with exit code {run.returncode} and wrote {target.name}, but "
                f"never said that it saved it; its last lines:\n{run.last_words}",
                f"to repeat it by hand: {run.command}",
            )
        return data


def _quantized(tensor: str, scales: str) -> dict[str, Any]:
    """What the uint8 file has at its input or output: both are quantized by its caller.

    Raises:
        UserError: the scale file does not have it.
    """
    for line in scales.splitlines():
        name, scale, zero = line.rsplit(" ", 2)
        if name == tensor:
            return {"dtype": "uint8", "scale": float(scale), "zero_point": int(zero)}
    raise UserError(
        f"the scales of the file to convert do not have '{tensor}'", "quantize the model again"
    )


def quantize_arguments(height: int, width: int, target: str) -> list[str]:
    """quant_tool_uint8's command line for a given scale file.

    `-w` and `-s` (mean, multiplier) are of images, which are not read; the caller of the
    runtime normalizes.
    """
    return [
        *("-m", "float.tmfile", "-i", "unused", "-o", target),
        *("-f", "ours.scale", "-a", "0", "-g", f"3,{height},{width}", "-t", "1"),
    ]


def scale_file(prepared: bytes, table: CalibrationTable | None, scheme: Scheme) -> str:
    """A line `name scale zero_point` an activation, as quant_tool_uint8 reads it.

    Raises:
        UserError: no table, another model's, or a tensor's name has a space.
    """
    import onnx

    from orchestrator.graphs import prepare
    from orchestrator.toolchains import twin

    if table is None:
        raise UserError(f"scheme '{scheme}' needs a calibration table, none was given")
    if table.model != prepare.fingerprint(prepared):
        raise UserError(
            "the calibration table was made from another model than the one to quantize",
            "calibrate this model",
        )
    proto = onnx.ModelProto.FromString(prepared)
    rule = RULE
    found = twin.activation_parameters(proto, table, scheme.calibrator, rule)
    spaced = next((name for name in found if any(c.isspace() for c in name)), None)
    if spaced is not None:
        raise UserError(
            f"tensor '{spaced}' has a space in its name, which Tengine's scale file cannot hold",
            "export the model with plain tensor names",
        )
    # Nine digits say a float32 exactly; the tool reads them with atof.
    return "".join(f"{name} {found[name][0]:.9g} {found[name][1]}\n" for name in sorted(found))


def _twin() -> RuleTwin:
    rules: dict[Axes, VendorRule] = {("uint8", "per-tensor", "asymmetric"): RULE}
    real = TengineToolchain.capabilities
    return RuleTwin(TengineToolchain.name, real, rules, RULE.name, ("float32",))


DESCRIPTOR = Descriptor("Tengine", TengineToolchain, _twin, RULE.name)
