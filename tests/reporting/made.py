"""Runs for tests: real events in a real log, over a real store filled by the real stages.

Only the features and the raw times are drawn by lot; what is made of them is made by farm.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.data.features import Features
from orchestrator.data.times import RawTimes
from orchestrator.events import (
    BoardChanged,
    CellFailed,
    CellFinished,
    CellInfo,
    Event,
    EventLog,
    Note,
    RunFinished,
    RunStarted,
    StepFailed,
    StepFinished,
    StepInfo,
    StepStarted,
    Telemetry,
)
from orchestrator.hashing import digest
from orchestrator.reporting.analysis.history import load_run
from orchestrator.results import CellResult, Latency
from orchestrator.stages.compare import compare
from orchestrator.stages.conditions import Conditions
from orchestrator.stages.latency import pack
from orchestrator.stages.score import SEARCHES, score
from orchestrator.stages.stage_output import StageOutput
from orchestrator.store.artifacts import Held, Store
from orchestrator.store.features import FeatureWriter

DIM = 24
POLICY: dict[str, Any] = {
    "far": [1e-1, 1e-2, 1e-3],
    "table_far": 1e-2,
    "confidence": 0.95,
    "bootstrap": 100,
    "seed": 0,
    "fusion": "mean",
}
MEASUREMENT = {"min_count": 100, "min_duration_s": 0.1, "warm_up_count": 5, "max_duration_s": 9.0}
T0 = 1_700_000_000.0


@dataclass(frozen=True)
class Row:
    """A row to be made.

    Attributes:
        noise: added to a probe's features; 0.9 gives a Rank-1 of about 94 %.
        lot: of its noise: rows of one lot and noise have equal features.
        own: share of the noise that is drawn by the row's lot; the rest is the probe's, in common.
        enrols: noise in the features of the gallery that the row's encoder made.
        median_ms: of its times.
        fails: why it has no result.
    """

    name: str
    hardware: str = "A311D"
    board: str = "vim3"
    executed_by: str = "board"
    noise: float = 0.9
    lot: int = 0
    own: float = 0.25
    enrols: float = 0.0
    median_ms: float = 20.0
    spread: float = 0.05
    time_lot: int = 0
    mixed: bool = False
    reference: bool = False
    fails: str = ""


@dataclass(frozen=True)
class Size:
    """Identities enrolled (and searched for), and probes of people who are not."""

    mated: int = 300
    unknown: int = 100


@functools.cache
def _faces(size: Size) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(7)
    faces = random.normal(size=(size.mated + size.unknown, DIM)).astype(np.float32)
    return faces, random.normal(size=faces.shape).astype(np.float32)


def features(row: Row, size: Size) -> tuple[Features, Features]:
    """What a row's encoders made: the gallery and the probes."""
    faces, shared = _faces(size)
    mine = np.random.default_rng(1000 + row.lot).normal(size=faces.shape).astype(np.float32)
    own = row.own
    probes = faces + row.noise * (np.sqrt(1 - own * own) * shared + own * mine).astype(np.float32)
    gallery = faces[: size.mated] + np.float32(row.enrols) * mine[: size.mated]
    names = [f"p{number}" for number in range(len(faces))]
    return (
        Features(gallery, np.zeros(len(gallery), bool), names[: size.mated]),
        Features(probes, np.zeros(len(probes), bool), names),
    )


@functools.cache
def _scored_as(noise: float, lot: int, own: float, enrols: float, size: Size) -> StageOutput:
    row = Row("", noise=noise, lot=lot, own=own, enrols=enrols)
    return score(*features(row, size), POLICY)


def _scored(row: Row, size: Size) -> StageOutput:
    return _scored_as(row.noise, row.lot, row.own, row.enrols, size)


@functools.cache
def _compared(reference: bytes, cell: bytes) -> StageOutput:
    return compare(reference, cell, POLICY)


def keep_features(root: Path, folder: Path, rows: list[Row], size: Size) -> None:
    """Put the features behind a run's rows into the store, as extraction would have."""
    store = Store(root / ".farm" / "store")
    for row, result in zip(rows, load_run(folder).results, strict=True):
        for role, side in zip(("gallery", "probe"), features(row, size), strict=True):
            listed = json.dumps(list(side.ids)).encode()
            pictures = _keep(store, "images", StageOutput({"rows.json": listed}, {"role": role}))
            key = result.provenance["keys"][role]
            if store.lookup("extract", key) is not None:
                continue
            part = store.part("extract", key)
            head = {"images": pictures.content}
            with FeatureWriter.open(part, *side.rows.shape, "float32", head) as writer:
                writer.write(0, side.rows)
                writer.finish()
            apart = ("journal.jsonl", "features.json")
            store.commit("extract", key, provenance={}, apart=apart)


def times_ns(row: Row, count: int = 300) -> np.ndarray:
    """Raw times, int64 nanoseconds, with the long tail that real ones have."""
    random = np.random.default_rng(row.time_lot)
    ms = row.median_ms * np.exp(row.spread * random.normal(size=count))
    ms += row.median_ms * random.exponential(0.05, count)
    return np.asarray(ms * 1e6, np.int64)


def raw(device_ns: np.ndarray, blocks: int = 5) -> RawTimes:
    """These device times as a measurement of some blocks, 0.2 s apart."""
    pre = np.full(len(device_ns), 200_000)
    whole = device_ns + 300_000
    block = np.sort(np.arange(len(device_ns)) % blocks)
    begin = np.concatenate([[0], np.cumsum(whole)[:-1]]) + block * 200_000_000
    return RawTimes(
        begin_ns=begin, pre_ns=pre, device_ns=device_ns, end_to_end_ns=whole, block=block
    )


def sensors(device_ns: np.ndarray, celsius: float = 51.0) -> list[dict[str, Any]]:
    """A sample each second of a board that keeps its temperature and clock."""
    seconds = float(device_ns.sum()) / 1e9
    return [
        {
            "at_s": float(at),
            "temperature_c": celsius,
            "clocks_mhz": {"cpu0": 1800.0, "17000000.gv11b": 1109.25},
            "clock_mhz": 1800.0,
            "limits_mhz": {"cpu0": 1800.0},
            "power_w": {"VDD_IN": 9.5},
        }
        for at in np.arange(0, seconds, 1.0)
    ]


def _keep(store: Store, stage: str, made: StageOutput, **named: Any) -> Held:
    key = digest({"stage": stage, "facts": json.loads(json.dumps(made.facts)), **named})
    held = store.lookup(stage, key)
    if held is None:
        files = dict(made.files)
        held = store.commit(stage, key, files, provenance=made.provenance, facts=made.facts)
    return held


def cell_result(store: Store, row: Row, reference: Row | None, size: Size, test: str) -> CellResult:
    """A row's entry in results.json, over what the store now holds."""
    scored = _scored(row, size)
    score_key = _keep(store, "score", scored, noise=row.noise, lot=row.lot, own=row.own)
    ns = times_ns(row)
    times, seen = raw(ns), Conditions(sensors(ns) if row.executed_by == "board" else [])
    measured = pack(times, seen, MEASUREMENT, row.executed_by, {"board_name": row.board})
    measure_key = _keep(store, "measure", measured, board=row.board)
    facts, timed = scored.facts, measured.facts
    latency = {k: timed[k] for k in Latency.model_fields}
    keys = {"score": score_key.key, "measure": measure_key.key}
    keys["artifact"] = digest({"of": row.name})
    keys |= {"probe": digest({"probe": row.board, "noise": row.noise}), "gallery": "g" * 64}
    if row.enrols:
        keys["gallery"] = digest({"gallery": row.board})
    difference = None
    if reference is not None:
        other = _scored(reference, size)
        compared = _compared(other.files[SEARCHES], scored.files[SEARCHES])
        keys["compare"] = _keep(store, "compare", compared).key
        difference = compared.facts
    return CellResult.model_validate(
        {
            "name": row.name,
            "hardware": row.hardware,
            "provider": "Khadas",
            "type": "ASIC",
            "backend": "Tengine" if row.executed_by == "board" else "onnxruntime (Tengine's rule)",
            "board": row.board,
            "kind": "khadas-vim3",
            "executed_by": row.executed_by,
            "emulated": row.executed_by == "emulated",
            "granularity": None if row.reference else "per-tensor",
            "symmetry": None if row.reference else "asymmetric",
            "dtype": "float32" if row.reference else "uint8",
            "calibrator": None if row.reference else "minmax",
            "mixed": row.mixed,
            "model": "m",
            "test_set": {
                "hash": test,
                "gallery": size.mated,
                "probes": size.mated + size.unknown,
                "mated": size.mated,
                "unknown": size.unknown,
                "difficulty": 1.5,
            },
            "latency": latency if timed["timing_valid"] else None,
            "latency_host": None if timed["timing_valid"] else latency,
            "rank1": facts["rank1"],
            "tar": facts["tar"],
            "tar_all": facts["tar_all"],
            "difference": difference,
            "verdict": timed["verdict"],
            "verdict_reason": timed["reason"],
            "verdict_reasons": timed["reasons"],
            "artifact_sha256": "b" * 64,
            "artifact_bytes": 1000,
            "provenance": {
                "model_sha256": "c" * 64,
                "artifact": {"toolchain": "tengine", "version": "1.2"},
                "gallery": {"executed_by": "board", "encoder": "ref" if row.mixed else row.name},
                "probe": {"board_name": row.board},
                "measure": measured.provenance,
                "score": scored.provenance,
                "keys": keys,
            },
        }
    )


def make_run(
    root: Path,
    name: str,
    rows: list[Row],
    *,
    at: float = T0,
    size: Size | None = None,
    limit: int | None = None,
    extra: tuple[Event, ...] = (),
    finish: bool = True,
) -> Path:
    """Write `root/runs/name` and fill `root/.farm/store`; returns the run's folder.

    Args:
        extra: further events, put in by their time.
        finish: whether the run has an end.
    """
    size = size or Size()
    store = Store(root / ".farm" / "store")
    folder = root / "runs" / name
    folder.mkdir(parents=True)
    state = str(root / ".farm")
    (folder / "request.json").write_text(json.dumps({"matrix": "matrix.yaml", "state": state}))
    reference = next((row for row in rows if row.reference), None)
    boards = tuple(dict.fromkeys(row.board for row in rows))
    steps = [
        StepInfo(id=f"{stage}/{row.name}", stage=stage, board=row.board, cells=(row.name,))
        for row in rows
        for stage in ("measure", "extract")
    ]
    events: list[Event] = [
        RunStarted(
            at=at,
            run=name,
            farm="0.1.0",
            matrix="matrix.yaml",
            inventory="device_inventory.yaml",
            matrix_sha256="d" * 64,
            limit=limit,
            cells=tuple(
                CellInfo(
                    name=row.name,
                    hardware=row.hardware,
                    board=row.board,
                    executed_by=row.executed_by,  # type: ignore[arg-type]
                )
                for row in rows
            ),
            steps=tuple(steps),
            boards=boards,
        )
    ]
    for number, row in enumerate(rows):
        begun = at + 1 + 10 * number
        for order, stage in enumerate(("measure", "extract")):
            step = dict(step=f"{stage}/{row.name}", stage=stage, board=row.board)
            events.append(StepStarted(at=begun + 4 * order, **step))
            if row.fails and stage == "extract":
                events.append(StepFailed(at=begun + 7, error="board", message=row.fails, **step))
            else:
                end = begun + 4 * order + 3
                events.append(StepFinished(at=end, key="e" * 64, seconds=3.0, **step))
        if row.fails:
            events.append(
                CellFailed(
                    at=begun + 8,
                    cell=row.name,
                    executed_by=row.executed_by,  # type: ignore[arg-type]
                    reason=row.fails,
                )
            )
            continue
        made = cell_result(
            store, row, None if row.reference else reference, size, f"test{size.mated}"
        )
        events.append(
            CellFinished(
                at=begun + 8,
                cell=row.name,
                executed_by=row.executed_by,  # type: ignore[arg-type]
                result=made.model_dump(mode="json"),
            )
        )
    events += extra
    events.sort(key=lambda event: event.at)
    if finish:
        failed = any(row.fails for row in rows)
        events.append(
            RunFinished(
                at=events[-1].at + 1,
                exit_code=1 if failed else 0,
                outcome="incomplete" if failed else "complete",
            )
        )
    log = EventLog(folder / "events.jsonl")
    for event in events:
        log.append(event)
    log.close()
    latest = root / "runs" / "latest"
    latest.unlink(missing_ok=True)
    latest.symlink_to(name)
    return folder


def fleet() -> list[Row]:
    """Rows of all sorts: reference, valid, mixed, really worse, suspect, emulated, failed."""
    return [
        Row("ref", "This host", "host", reference=True, noise=0.8, median_ms=4.0),
        Row("vim3", noise=0.82, lot=1),
        Row("vim3*", "A311D*", noise=0.82, lot=2, mixed=True),
        Row("jetson", "Jetson NX", "jetson", noise=1.5, lot=3, median_ms=16.0),
        Row("noisy", "IMX8P", "imx", noise=0.82, lot=4, spread=0.9, median_ms=24.0),
        Row("substitute", "RV1126", "rv", executed_by="emulated", noise=0.82, lot=5),
        Row("lost", "RK3588", "rk", fails="rk: the link <broke> & \x1b[31mended\x1b[0m"),
    ]


def troubles(at: float = T0) -> tuple[Event, ...]:
    """A retried step, a lost board, warnings and telemetry."""
    step = dict(step="deploy/vim3", stage="deploy", board="vim3")
    warm: list[Event] = [
        Telemetry(at=at + second, board="vim3", temperature_c=50 + second, clock_mhz=1800 - second)
        for second in range(1, 20)
    ]
    return (
        StepStarted(at=at + 0.2, **step),
        StepFailed(at=at + 0.5, error="transient", message="cut", retry=True, **step),
        StepStarted(at=at + 0.6, attempt=2, **step),
        StepFinished(at=at + 0.9, key="f" * 64, **step),
        BoardChanged(
            at=at + 62, board="rk", state="unreachable", executed_by="board", reason="no answer"
        ),
        Note(at=at + 5, level="warning", board="jetson", message="84 °C: <throttled>"),
        *warm,
    )
