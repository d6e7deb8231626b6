"""The documented, versioned shape of results.json: one `CellResult` a row of the table.

All rates are fractions between 0 and 1 (the table prints percent), all times milliseconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.events import ExecutedBy

RESULTS_VERSION = 1
Task = Literal["recognition", "detection"]
"""What a model is for."""
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

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


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
    """What the audit of the test set found, once.

    docs/reference/test-set-checks.md lists the kinds.

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
        images: pictures, of detection; gallery and probes are then 0.
        faces: faces that count, by subset, of detection.
        difficulty: of rendered faces and scenes; None for others.
        notes: what must be said of the user's own images: skipped files, transparency, ...
        audit: what the audit of the images found, with some examples.
    """

    hash: str
    gallery: int = 0
    probes: int = 0
    mated: int = 0
    unknown: int = 0
    images: int = 0
    faces: dict[str, int] = {}
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
    """Single inferences on the board; docs/explanation/measuring.md draws the borders.

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


NO_RATE = Estimate(value=None, low=None, high=None)
NO_TAR = Tar(
    value=None,
    low=None,
    high=None,
    far_target=1e-3,
    far_achieved=0.0,
    k=0,
    threshold=None,
    available=False,
    reason="a detector identifies nobody",
)


class Detection(Part):
    """A detector's figures; docs/reference/detection.md says how each is counted.

    Attributes:
        main: the subset with the most faces: what rows are compared by.
        ap: average precision at IoU 0.5 by subset; `ap_by_height` by height of the face.
        recall: of the main subset, by false positives an image; `threshold`: the least score there.
        landmark_error: mean distance of the five points from the true ones over the root of the
            box's area; a share, not a rate.
        boxes: that were found, of any score.
        decode_ms_here, nms_ms_here: medians an image of decoding and NMS on this host.
    """

    main: str
    ap: dict[str, Estimate]
    ap_by_height: dict[str, Estimate] = {}
    recall: dict[str, Estimate] = {}
    threshold: dict[str, float | None] = {}
    landmark_error: Estimate = NO_RATE
    boxes: int = 0
    decode_ms_here: float | None = None
    nms_ms_here: float | None = None


class Agreement(Part):
    """How far a detector finds the boxes that float32 finds.

    Attributes:
        share: of both detectors' boxes, those with a partner of IoU 0.5 or more.
        overlap: mean IoU of these pairs.
    """

    share: float | None
    overlap: float | None


class AtFixedThreshold(Part):
    """A cell at the score threshold that was chosen with float32.

    Attributes:
        threshold: float32's at the first of `scoring: false_positives`.
        recall, reference_recall: of the cell and of float32 at that score.
        false_positives: an image, of the cell at that score.
    """

    threshold: float | None
    recall: float | None
    reference_recall: float | None
    false_positives: float | None


class Difference(Part):
    """A row against its model's float32 reference, over the same probes or pictures.

    Attributes:
        rank1, tar: difference of the rates with interval; empty of a detector.
        ap, recall, landmark_error, agreement, fixed: of a detector; `ap` by subset.
        only_reference, only_cell: probes that only one of the two ranks first; faces that only one
            of the two finds at float32's threshold.
        p: of the exact McNemar test on these, of a detector by bootstrap over the pictures;
            `p_holm`: adjusted over the rows of the table.
        real: whether the difference of the main figure is significant after the adjustment.
    """

    rank1: Estimate = NO_RATE
    tar: Estimate = NO_RATE
    ap: dict[str, Estimate] = {}
    recall: Estimate = NO_RATE
    landmark_error: Estimate = NO_RATE
    agreement: Agreement | None = None
    fixed: AtFixedThreshold | None = None
    only_reference: int
    only_cell: int
    p: float
    p_holm: float | None = None
    real: bool | None = None


class DetectorResult(Part):
    """The detector that finds a row's faces, where it runs on the row's board.

    Attributes:
        model: its name.
        backend, dtype, granularity, symmetry, calibrator: as of a row.
        latency, latency_host: of the detector alone, as of a row.
    """

    model: str
    backend: str
    dtype: str
    granularity: str | None
    symmetry: str | None
    calibrator: str | None
    latency: Latency | None = None
    latency_host: Latency | None = None
    artifact_sha256: str
    artifact_bytes: int

    @property
    def scheme(self) -> str:
        """`float32`, `uint8 per-tensor asymmetric`."""
        words = (self.dtype, self.granularity, self.symmetry, self.calibrator)
        return " ".join(word for word in words if word and word != "minmax")


class Split(Part):
    """What a row of two models loses by each of them, over the same probes.

    Attributes:
        detector: the row's detector with the float32 recognizer, against float32 throughout.
        recognizer: the float32 detector with the row's recognizer, against the same.
    """

    detector: Difference
    recognizer: Difference


class NotAcquired(Part):
    """Failures to acquire: photos in which the detector found no face. They count as misses."""

    gallery: int
    probe: int


class CellResult(Part):
    """One row. `latency` only where a board was timed; `latency_host` where this host or
    another board than the row's was timed.

    `task`: recognition or detection; `detection` holds a detector's figures, whose `rank1` and
    `tar` are empty.
    `detector`: of a row whose board finds the faces, too; `latency` is then the recognizer's alone,
    and the verdict is of both. `split`: what each of the two loses. `not_acquired`: of photos.
    `emulated`: an emulated board was used, whatever ran there (`executed_by`: twin or emulated).
    `machine`: the processor of an emulated board that has another than this host; else empty.
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
    machine: str = ""
    granularity: str | None
    symmetry: str | None
    dtype: str
    calibrator: str | None
    mixed: bool
    task: Task = "recognition"
    model: str
    test_set: TestSetResult
    partial: bool = False
    latency: Latency | None = None
    latency_host: Latency | None = None
    rank1: Estimate = NO_RATE
    tar: Tar = NO_TAR
    tar_all: list[Tar] = []
    detection: Detection | None = None
    detector: DetectorResult | None = None
    not_acquired: NotAcquired | None = None
    difference: Difference | None = None
    split: Split | None = None
    failed_images: int = 0
    verdict: str
    verdict_reason: str = ""
    verdict_reasons: list[str] = []
    artifact_sha256: str
    artifact_bytes: int
    warnings: list[str] = []
    helpers: str = ""
    provenance: dict[str, Any] = {}

    @property
    def p50_ms(self) -> float | None:
        """Median time on the board, milliseconds; of two models the sum of their medians. None
        where no board was timed."""
        parts = [self.latency] if self.detector is None else [self.detector.latency, self.latency]
        times = [part.device.p50_ms for part in parts if part is not None]
        return sum(times) if len(times) == len(parts) else None
