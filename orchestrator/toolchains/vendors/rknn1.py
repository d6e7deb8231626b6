"""rknn1: Rockchip's NPUs of the first generation, by rknn-toolkit 1.x where the user has it.

That toolkit is on no registry and for Python 3.5 to 3.7, so farm cannot install it: it runs by a
Python that the user names, on this computer or on a converter host over SSH. farm brings the
script, the model and the calibration images, and takes the file back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ToolchainError
from orchestrator.graphs.recipes import PREPARE
from orchestrator.hashing import sha256_bytes
from orchestrator.installed import installed
from orchestrator.toolchains import rknn_files, vendor_rules
from orchestrator.toolchains.base import Artifact, Calibrator, Capabilities, Conversion, Scheme
from orchestrator.toolchains.converter_host import Host, OverSsh, Returned, ThisComputer
from orchestrator.toolchains.descriptor import Descriptor
from orchestrator.toolchains.process import converting
from orchestrator.toolchains.quantizing import manifest, require_offered
from orchestrator.toolchains.rule_twin import Axes, RuleTwin
from orchestrator.toolchains.vendor_rules import VendorRule
from orchestrator.toolchains.vendors import rknn

if TYPE_CHECKING:
    import onnx

    from orchestrator.calibration.table import CalibrationTable

# Raised when the request, and so the artifact, may differ for the same inputs.
RECIPE = 1
NAME = "rknn1"
PACKAGE = "rknn-toolkit"
PYTHON_VARIABLE = "FARM_RKNN1_PYTHON"
LAST_VERSION = "1.7.5"

ALGORITHMS: dict[Calibrator, str] = {"minmax": "normal", "mmse": "mmse"}

_DEADLINE = 3600.0
_SMALLEST = 1024

# RKNN-Toolkit 1.x, `asymmetric_affine-u8` (closed): (max - min) / 255 with 0 included and the
# zero point rounded, for activations and weights alike. Assumed: int32 biases, PReLU slopes in
# float16, every operator uint8.
RULE = VendorRule(
    name="RKNN 1.x",
    dtype="uint8",
    activation=vendor_rules.rounded_uint8,
    weight=lambda values: vendor_rules.rounded_uint8(values.min(), values.max()),
    per_channel=False,
    pass_through=vendor_rules.PASS_THROUGH,
    facts=(
        "asymmetric_affine-u8, one scale a tensor, zero points rounded",
        "closed toolkit: biases, PReLU and requantization are assumptions",
    ),
)


class Rknn1Toolchain:
    """float32 ONNX with its scheme, then a `.rknn` file by rknn-toolkit 1.x.

    Args:
        python: the interpreter that has the toolkit; the variable FARM_RKNN1_PYTHON otherwise.
        ssh: the converter host that `python` is on, as a board's entry has it; None: here.
        version: of the toolkit there. It is part of keys, so it is stated, and held against what
            the toolkit says.
        pre_compile: let the toolkit compile for the NPU, so that the board starts faster; such a
            file fits only the driver version it was compiled for.
    """

    name = NAME
    capabilities = Capabilities(
        schemes=(("uint8", "per-tensor", "asymmetric"),),
        float_types=("float16",),
        calibrators=("minmax", "mmse"),
        opset=11,
        ir=6,
        needs=(PACKAGE,),
        targets=("rv1126", "rv1109", "rk1808", "rk3399pro"),
        calibrates=True,
        keeps_float=False,
        refuses_qdq=(
            "takes no file that is quantized already: rknn-toolkit 1.x quantizes the float32 "
            "model from the calibration images"
        ),
        runtime="rknn",
    )
    install = (
        "it is not on any package index: install Rockchip's wheel in a Python 3.6 and name that "
        "in the inventory: `toolchains: {rknn1: {python: /path/to/python3}}`, with "
        "`ssh: {host: ..., user: ...}` when it is on another computer"
    )

    def __init__(
        self,
        python: str | None = None,
        ssh: Mapping[str, Any] | None = None,
        version: str = LAST_VERSION,
        pre_compile: bool = False,
    ) -> None:
        self._python = python or os.environ.get(PYTHON_VARIABLE)
        self._host: Host = OverSsh(ssh) if ssh else ThisComputer()
        self._is_here = not ssh
        self._version, self._pre_compile = version, pre_compile

    def version(self) -> str:
        """The toolkit's version, what of it is used, and our recipes."""
        compiled = ", pre-compiled" if self._pre_compile else ""
        return (
            f"{PACKAGE} {self._version}{compiled}, onnx {installed('onnx')}, "
            f"recipe {PREPARE}.{RECIPE}"
        )

    def missing(self) -> tuple[str, ...]:
        """The toolkit, when no Python is named, or the one named is not here.

        A converter host is not asked: it answers when it is needed.
        """
        there = self._python and (not self._is_here or os.access(self._python, os.X_OK))
        return () if there else (f"{PACKAGE} 1.x",)

    def quantize(self, model: bytes, table: CalibrationTable | None, scheme: Scheme) -> Artifact:
        """See `Toolchain.quantize`: the float32 model and what is to become of it."""
        require_offered(self, scheme)
        rknn.require_no_float_layers(self.name, scheme)
        data = rknn_files.float_model(model, scheme, self.capabilities.opset, self.capabilities.ir)
        return Artifact(data, "onnx", manifest(self, model, None, scheme, data))

    def convert(self, quantized: bytes, conversion: Conversion | None = None) -> Artifact:
        """See `Toolchain.convert`: runs the toolkit where it is."""
        from orchestrator.graphs import edit

        proto = edit.load(quantized, "the file to convert")
        scheme = rknn_files.scheme_of(proto, self.name)
        wanted = rknn.require_target(self, conversion)
        images = rknn_files.calibration_images(wanted, scheme, self.name)
        job = rknn_files.job(quantized, self._calls(scheme, wanted), 1, images)
        if self._python is None or self.missing():
            place = f"; {self._python} is no program here" if self._python else ""
            raise ToolchainError(f"{PACKAGE} 1.x is not there{place}", self.install)
        toolkit = f"{PACKAGE} {self._version}"
        words = [self._python, rknn_files.TOOL, rknn_files.REQUEST, rknn_files.RESULT]
        with (
            converting(_DEADLINE) as seconds,
            self._host.working(job.files, words, seconds) as left,
        ):
            result = self._result(left, proto, wanted.target)
            data = left.read(rknn_files.OUTPUT)
            require_whole(data, result, left, toolkit)
        facts = {
            "toolchain": self.name,
            "version": self.version(),
            "target": wanted.target,
            **rknn_files.interface(proto),
            "calibration": rknn.calibration_facts(toolkit, scheme, wanted, ALGORITHMS),
            "seconds": {call["name"]: call["seconds"] for call in result["calls"]},
        }
        return Artifact(data, "rknn", facts)

    def _calls(self, scheme: Scheme, wanted: Conversion) -> dict[str, Any]:
        config: dict[str, Any] = {
            **rknn_files.normalization(wanted),
            # The calibration images and the board's input have the model's order already.
            "reorder_channel": "0 1 2",
            "target_platform": [wanted.target],
            "optimization_level": 3,
            "output_optimize": 1,
        }
        build: dict[str, Any] = {"do_quantization": not scheme.is_float}
        if self._pre_compile:
            build["pre_compile"] = True
        if not scheme.is_float:
            assert scheme.calibrator is not None
            config["quantized_dtype"] = "asymmetric_affine-u8"
            config["quantized_algorithm"] = ALGORITHMS[scheme.calibrator]
        return {"config": config, "build": build}

    def _result(self, left: Returned, proto: onnx.ModelProto, target: str) -> dict[str, Any]:
        toolkit = f"{PACKAGE} {self._version}"
        result = rknn.read_result(left.read(rknn_files.RESULT), left.run, proto, toolkit, target)
        version = result.get("version") or self._version
        if version != self._version:
            raise ToolchainError(
                f"{PACKAGE} is {version} where it runs, but the inventory says {self._version}",
                f"write `version: {json.dumps(version)}` below `toolchains: {{rknn1: ...}}`",
            )
        return result


def require_whole(data: bytes, result: Mapping[str, Any], left: Returned, toolkit: str) -> None:
    """Raise ToolchainError unless the file is there, as the script saw it, and begins as one."""
    if len(data) < _SMALLEST or data[:4] != b"RKNN" or sha256_bytes(data) != result["sha256"]:
        state = f"{len(data)} bytes that begin with {data[:4]!r}" if data else "nothing"
        raise ToolchainError(
            f"{toolkit} said that it made {rknn_files.OUTPUT}, but that is {state}, expected an "
            f"RKNN file of {result['bytes']} bytes; its last lines:\n{left.run.last_words}",
            f"to repeat it by hand: {left.run.command}",
        )


def _twin() -> RuleTwin:
    rules: dict[Axes, VendorRule] = {("uint8", "per-tensor", "asymmetric"): RULE}
    # Without quantization RKNN computes in float16, of which there is no twin.
    return RuleTwin(NAME, Rknn1Toolchain.capabilities, rules, RULE.name)


DESCRIPTOR = Descriptor("RKNN 1.x", Rknn1Toolchain, _twin, RULE.name)
