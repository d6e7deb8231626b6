"""The documented, versioned shape of results.json: one `CellResult` a row of the table.

All rates are fractions between 0 and 1 (the table prints percent), all times milliseconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.events import ExecutedBy

RESULTS_VERSION = 1
# By how much a fixed piece of processor work may take longer before paces count as different.
YARDSTICK = 0.10


class Verdict(StrEnum):
    """What a time is worth; `CellResult.verdict` is one of these words."""

    VALID = "VALID"
    SUSPECT = "SUSPECT"
    EMULATED = "EMULATED"
    SIMULATED = "SIMULATED"


class Part(BaseModel):
    """Immutable; a reader of a later version ignores what it does not know."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class AuditImage(Part):
    """An image that a finding names.

    Attributes:
        role: gallery, probe, calibration; `face` where images have no role yet.
        identity: whom it shows; empty for calibration images.
        name: its file.
    """

    role: str
    identity: str
    name: str


class AuditExample(Part):
    """One image, or two of which the first repeats the second.

    Attributes:
        bits: how many of the 256 bits of their perceptual hashes differ; None when both are equal
            to the pixel, or there is one image.
    """

    images: list[AuditImage]
    bits: int | None = None


class AuditFinding(Part):
    """What the audit of the test set found, once; docs/test-set-checks.md lists the kinds.

    Attributes:
        severity: a `leak` makes figures say more than they should, and is refused unless allowed.
        count: of all images or identities concerned (or false alarms); `examples` has some of them.
        allowed: a leak that `allow_leaks: true` lets pass.
    """

    kind: str
    severity: Literal["leak", "warning", "note"]
    count: int
    sentence: str
    examples: list[AuditExample] = []
    allowed: bool = False


class TestSetResult(Part):
    """The test set of a row.

    Attributes:
        hash: over the bytes of gallery and probe images and their identities.
        gallery: enrolled identities (N).
        probes: searches, unknown ones included.
        mated, unknown: probes whose identity is, or is not, enrolled.
        difficulty: of rendered faces; None for others.
        notes: what must be said of the user's own images: skipped files, transparency, ...
        audit: what the audit of the images found, with some examples.
    """

    hash: str
    gallery: int
    probes: int
    mated: int
    unknown: int
    difficulty: float | None = None
    notes: list[str] = []
    audit: list[AuditFinding] = []


class Times(Part):
    """Percentiles of raw times, in milliseconds."""

    count: int
    min_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    mean_ms: float
    mad_ms: float


class Transfer(Part):
    """What an image takes over the link to the board, of a burst of `images` of them."""

    images: int
    image_bytes: int
    image_ms: float
    round_trip_ms: float


class Energy(Part):
    """Energy of one inference, where a rail is measured: `mean_w` of `rail` times its time.

    Attributes:
        inference_j: joules, the board's idle power included.
        rails_w: mean power of every rail.
    """

    rail: str
    mean_w: float
    inference_j: float
    rails_w: dict[str, float] = {}


class Latency(Part):
    """Single inferences on the board; docs/measuring.md draws the borders.

    Attributes:
        device: inside the native run call.
        end_to_end: from the raw image on the board to the feature there.
        pre, post: of that, preprocessing, and copies and dequantizing.
        transfer: over the link, which no other part holds.
        blocks: `device` of each block; they are timed with pauses between them.
        yardstick_ms: a fixed piece of processor work between blocks, to compare measurements by.
        peak_memory_bytes: resident memory of the process that ran the model, at its highest.
        unseen: what the board does not tell, so that the verdict says nothing of it.
    """

    device: Times
    end_to_end: Times
    pre: Times | None = None
    post: Times | None = None
    transfer: Transfer | None = None
    energy: Energy | None = None
    peak_memory_bytes: int | None = None
    blocks: list[Times] = []
    yardstick_ms: float | None = None
    unseen: list[str] = []
    timing_valid: bool


class Estimate(Part):
    """A rate and its confidence interval; `value` is None when it cannot be given."""

    value: float | None
    low: float | None
    high: float | None


class Tar(Estimate):
    """TAR at a false-alarm rate a search, with the rank condition (TPIR).

    Attributes:
        far_target, far_achieved: what was asked for and what the threshold gives.
        k: false alarms allowed; `threshold`: accept iff score >= threshold.
        available: False when k is 0: then the table prints n/a with `reason`.
    """

    far_target: float
    far_achieved: float
    k: int
    threshold: float | None
    available: bool = True
    reason: str = ""


class Difference(Part):
    """A row against its model's float32 reference, over the same probes.

    Attributes:
        rank1, tar: difference of the rates with interval.
        only_reference, only_cell: probes that only one of the two ranks first.
        p: of the exact McNemar test on these; `p_holm`: adjusted over the rows of the table.
        real: whether the Rank-1 difference is significant after the adjustment.
    """

    rank1: Estimate
    tar: Estimate
    only_reference: int
    only_cell: int
    p: float
    p_holm: float | None = None
    real: bool | None = None


class CellResult(Part):
    """One row. `latency` only where a board was timed; `latency_host` where this host or
    another board than the row's was timed.

    `emulated`: an emulated board was used, whatever ran there (`executed_by`: twin or emulated).
    `helpers`: what each accuracy helper gained, in words; empty without any.
    """

    name: str
    hardware: str
    provider: str
    type: str
    backend: str
    board: str
    kind: str
    executed_by: ExecutedBy
    emulated: bool
    granularity: str | None
    symmetry: str | None
    dtype: str
    calibrator: str | None
    mixed: bool
    model: str
    test_set: TestSetResult
    partial: bool = False
    latency: Latency | None = None
    latency_host: Latency | None = None
    rank1: Estimate
    tar: Tar
    tar_all: list[Tar] = []
    difference: Difference | None = None
    failed_images: int = 0
    verdict: str
    verdict_reason: str = ""
    verdict_reasons: list[str] = []
    artifact_sha256: str
    artifact_bytes: int
    warnings: list[str] = []
    helpers: str = ""
    provenance: dict[str, Any] = {}
