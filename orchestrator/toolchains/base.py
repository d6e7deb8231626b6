"""What a toolchain is: schemes as explicit axes, capabilities as data, artifacts as bytes.

A toolchain is the host side of a vendor. Its methods take and return bytes, because they run
as tasks on machines that see no store. They are pure: equal arguments give equal bytes, since
an artifact's hash is the key under which everything made from it is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from orchestrator.toolchains.given import UNSAID

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.calibration.table import CalibrationTable

Dtype = Literal["float32", "float16", "int8", "uint8", "as-given"]
Granularity = Literal["per-channel", "per-tensor"]
Symmetry = Literal["symmetric", "asymmetric"]
Calibrator = Literal["minmax", "percentile", "entropy", "mmse"]

FLOAT_TYPES: tuple[Dtype, ...] = ("float32", "float16")


@dataclass(frozen=True)
class Scheme:
    """How a model is quantized.

    Attributes:
        dtype: the type that activations and weights are kept in; `as-given` where the file to
            quantize is quantized already.
        granularity: one scale a tensor, or one an output channel for weights (activations
            are always per tensor); None for the float types.
        symmetry: of the activations. int8 weights are always symmetric, uint8 weights
            asymmetric, as every vendor here has it. None for the float types.
        calibrator: which range of the calibration table is taken; None for the float types.
        keep_float: names of nodes that stay in float32.
    """

    dtype: Dtype
    granularity: Granularity | None = None
    symmetry: Symmetry | None = None
    calibrator: Calibrator | None = None
    keep_float: tuple[str, ...] = ()

    @property
    def is_float(self) -> bool:
        """Whether no calibration is needed."""
        return self.dtype in FLOAT_TYPES

    @property
    def is_given(self) -> bool:
        """Whether the file is quantized already."""
        return self.dtype == "as-given"

    @property
    def axes(self) -> tuple[Dtype, Granularity | None, Symmetry | None]:
        """The three axes that a toolchain's capabilities list."""
        return (self.dtype, self.granularity, self.symmetry)

    def __str__(self) -> str:
        parts = [self.dtype, self.granularity, self.symmetry, self.calibrator]
        text = " ".join(part for part in parts if part)
        return f"{text} (float: {', '.join(self.keep_float)})" if self.keep_float else text

    def to_dict(self) -> dict[str, Any]:
        """The scheme as JSON values, for manifests and keys."""
        return {
            "dtype": self.dtype,
            "granularity": self.granularity,
            "symmetry": self.symmetry,
            "calibrator": self.calibrator,
            "keep_float": sorted(self.keep_float),
        }


@dataclass(frozen=True)
class Capabilities:
    """What a toolchain can do, as data that the plan reads without running it.

    Attributes:
        schemes: the (dtype, granularity, symmetry) it quantizes to.
        float_types: the float types it emits.
        calibrators: the range estimators whose result it can use.
        opset: the ONNX opset of what it hands on.
        ir: the ONNX IR version of what it hands on.
        needs: outside tools it cannot work without; empty when it needs none.
        forbidden: operators that its vendor does not run.
        built_on_board: whether the board's runtime makes the final artifact itself.
        targets: the processors it can make a file for, as `target` of a kind says them; empty
            when one file serves all boards.
        calibrates: whether its vendor's tool calibrates from the images themselves: `quantize`
            then takes no table, and `convert` needs the images.
        simulator: the runtime that is its vendor's simulator, which executes the model on the
            head; empty when there is none.
        runtime: the runtime on the board that its files need, where that has another name.
        keeps_float: whether single layers can stay in float32 (`keep_float`).
        refuses_qdq: why it takes no file that is quantized already (scheme `as-given`, whose
            `quantize` gets that file); empty when it takes one.
    """

    schemes: tuple[tuple[Dtype, Granularity, Symmetry], ...]
    float_types: tuple[Dtype, ...]
    calibrators: tuple[Calibrator, ...]
    opset: int
    ir: int
    needs: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    built_on_board: bool = False
    targets: tuple[str, ...] = ()
    calibrates: bool = False
    simulator: str = ""
    runtime: str = ""
    keeps_float: bool = True
    refuses_qdq: str = UNSAID

    def why_not(self, scheme: Scheme) -> str:
        """Why `scheme` cannot be made here; empty when it can."""
        if scheme.is_given:
            return self.refuses_qdq
        if scheme.is_float:
            if scheme.dtype in self.float_types:
                return ""
            return f"offers no {scheme.dtype}, only {', '.join(self.float_types) or 'integers'}"
        if scheme.axes not in self.schemes:
            offered = "; ".join(" ".join(axes) for axes in self.schemes) or "none"
            wanted = " ".join(axis or "?" for axis in scheme.axes)
            return f"does not offer {wanted}, only: {offered}"
        if scheme.calibrator not in self.calibrators:
            return f"takes no {scheme.calibrator} ranges, only {', '.join(self.calibrators)}"
        return ""


@dataclass(frozen=True)
class Conversion:
    """What a file is made for, beyond what `quantize` made.

    Attributes:
        target: the processor, one of `Capabilities.targets`; empty where there are none.
        preprocessing: `layout`, `colour`, `mean`, `std`, `height`, `width` of the model's
            manifest, which a vendor that normalizes in the model needs.
        images: the calibration set, uint8 (n, height, width, 3), RGB; None for a float scheme,
            and where the toolchain does not calibrate.
        simulate: make the file for the vendor's simulator on the head instead of for a board.
    """

    target: str = ""
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    images: NDArray[np.uint8] | None = None
    simulate: bool = False


@dataclass(frozen=True)
class Artifact:
    """A model file in some format, and the facts about how it was made."""

    data: bytes
    format: str
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Hex digest of the file."""
        return hashlib.sha256(self.data).hexdigest()


@runtime_checkable
class Toolchain(Protocol):
    """The contract of every toolchain; `tests/toolchains/test_conformance.py` holds it.

    Both methods leave nothing behind on disk, print nothing, and raise only errors of
    `orchestrator.errors`. `quantize` is pure (equal arguments, equal bytes), and so is `convert`
    unless a vendor's tool writes other bytes each time, as Rockchip's does.

    One whose `capabilities.simulator` names a runtime is `Simulating`, too.

    A toolchain may also have `missing() -> tuple[str, ...]`, the outside tools that are not
    there, and `install`, the words that fix it: the plan then says so before anything starts.
    """

    @property
    def name(self) -> str:
        """The word used in matrix.yaml."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    def version(self) -> str:
        """What made the artifact, precise enough to be part of a key."""

    def quantize(self, model: bytes, table: CalibrationTable | None, scheme: Scheme) -> Artifact:
        """Turn a float32 ONNX file into one of `scheme`, still as ONNX.

        Args:
            model: an ONNX file with one float32 input [N or 1, 3, H, W].
            table: the ranges of the same model; None for a float scheme, and for a toolchain
                that calibrates by itself.
            scheme: one of `capabilities`.

        Raises:
            UserError: the model or the scheme is not fit for this.
            ToolchainError: the quantizer failed.
        """

    def convert(self, quantized: bytes, conversion: Conversion | None = None) -> Artifact:
        """Turn what `quantize` made into the file that is deployed.

        Args:
            quantized: the file.
            conversion: what it is made for; may be left out where `capabilities` has neither
                `targets` nor `calibrates`.

        Raises:
            UserError: the file is not one that `quantize` makes, or a part of `conversion` is
                missing.
            ToolchainError: the converter failed.
        """


class Simulating(Protocol):
    """What a toolchain has besides whose vendor's simulator runs on the head."""

    def simulate(self, bundle: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features by the vendor's simulator.

        Args:
            bundle: what `convert` made with `Conversion.simulate`.
            images: uint8 (n, height, width, 3), channels in the model's order.

        Returns:
            float32 (n, dim).

        Raises:
            ToolchainError: the vendor's tool failed.
            TransientError: it did not end in time.
        """
