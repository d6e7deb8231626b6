"""What stands behind each figure of a row, as `name  value` lines.

All of it is in results.json. Where so many rows would make a page that no browser likes to open,
the page tells once what is the same in all rows, and of the rest what finds it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.columns.tasks import judged
from orchestrator.columns.texts import far_text
from orchestrator.results import CellResult

NAME = 36  # characters
MOST = 700_000  # characters of all rows together
FINDS = ("key", "sha256", "model_sha256", "executed_by", "verdict")
Line = tuple[str, str]


@dataclass(frozen=True)
class Block:
    """The lines, (name, value), behind one figure; `id` is where the figure's link leads to."""

    id: str
    title: str
    lines: tuple[Line, ...]

    @property
    def text(self) -> str:
        """One line of text each, the values below each other."""
        width = min(NAME, max((len(name) for name, _ in self.lines), default=0))
        return "\n".join(f"{name:<{width}}  {value}" for name, value in self.lines)

    def only(self, lines: Sequence[Line]) -> Block:
        """The same block with these lines."""
        return Block(self.id, self.title, tuple(lines))


@dataclass(frozen=True)
class Provenance:
    """What a page tells of where its figures come from.

    Attributes:
        shared: what is the same in all rows and left out of theirs; empty where nothing was
            left out.
        rows: the blocks of each row.
        shortened: whether only results.json has all.
    """

    shared: tuple[Block, ...]
    rows: tuple[tuple[Block, ...], ...]
    shortened: bool


def provenances(rows: Sequence[CellResult]) -> Provenance:
    """Of all rows, at most about `MOST` characters and what finds the rest."""
    whole = [tuple(_blocks(row)) for row in rows]
    if _size(whole) <= MOST:
        return Provenance((), tuple(whole), False)
    common = set.intersection(*({(b.id, line) for b in row for line in b.lines} for row in whole))
    shared = [b.only([x for x in b.lines if (b.id, x) in common]) for b in whole[0]]
    own = [
        tuple(b.only([x for x in b.lines if (b.id, x) not in common]) for b in row) for row in whole
    ]
    shortened = _size(own) > MOST
    if shortened:
        own = [tuple(b.only([x for x in b.lines if _finds(x[0])]) for b in row) for row in own]
    return Provenance(tuple(b for b in shared if b.lines), tuple(own), shortened)


def _size(rows: Sequence[Sequence[Block]]) -> int:
    return sum(len(block.text) for row in rows for block in row)


def _finds(name: str) -> bool:
    return name.rpartition(".")[2] in FINDS


def _blocks(row: CellResult) -> list[Block]:
    come = row.provenance
    keys = come.get("keys", {})
    latency = row.latency
    who = "another board" if row.executed_by == "board" else "this host"
    elsewhere = f" (run on {who}: the board has none)" if latency is None else ""
    time_facts: dict[str, Any] = {
        "executed_by": row.executed_by,
        "verdict": f"{row.verdict} {row.verdict_reason}".strip(),
        "key": keys.get("measure", ""),
    }
    if latency is not None:
        time_facts["device"] = latency.device.model_dump()
        time_facts["end_to_end"] = latency.end_to_end.model_dump()
    blocks = [
        _block("time", f"Time{elsewhere}", time_facts | come.get("measure", {})),
        _block("accuracy", _title(row), _accuracy(row)),
    ]
    if row.difference is not None:
        facts = row.difference.model_dump() | {"key": keys.get("compare", "")}
        blocks.append(_block("difference", "Difference from float32", facts))
    if row.split is not None:
        facts = row.split.model_dump() | {"key": keys.get("split", "")}
        blocks.append(_block("split", "Detector's and recognizer's share", facts))
    if row.detector is not None:
        facts = row.detector.model_dump() | come.get("detector", {})
        blocks.append(_block("detector", "Detector", facts))
    artifact = {
        "sha256": row.artifact_sha256,
        "bytes": row.artifact_bytes,
        "key": keys.get("artifact", ""),
        "model": row.model,
        "model_sha256": come.get("model_sha256", ""),
        "dtype": row.dtype,
        "calibrator": row.calibrator or "none",
    }
    blocks.append(_block("artifact", "What ran", artifact | come.get("artifact", {})))
    return blocks


def _title(row: CellResult) -> str:
    """`Rank1 and TAR`."""
    *others, last = (rate.heading.partition("@")[0] for rate in judged([row]).rates)
    return f"{', '.join(others)} and {last}" if others else last


def _accuracy(row: CellResult) -> dict[str, Any]:
    come = row.provenance
    keys = come.get("keys", {})
    if row.detection is not None:
        return {
            **row.detection.model_dump(),
            "failed_images": row.failed_images,
            "warnings": ", ".join(row.warnings) or "none",
            "test_set": row.test_set.model_dump(),
            "evaluate": come.get("score", {}) | {"key": keys.get("evaluate", "")},
            "features": come.get("probe", {}) | {"key": keys.get("features", "")},
        }
    return {
        "rank1": row.rank1.model_dump(),
        "tar": {far_text(tar.far_target): tar.model_dump() for tar in row.tar_all or [row.tar]},
        "failed_images": row.failed_images,
        "warnings": ", ".join(row.warnings) or "none",
        "test_set": row.test_set.model_dump(),
        "score": come.get("score", {}) | {"key": keys.get("score", "")},
        "gallery": come.get("gallery", {}) | {"key": keys.get("gallery", "")},
        "probe": come.get("probe", {}) | {"key": keys.get("probe", "")},
    }


def _block(ident: str, title: str, parts: Mapping[str, Any]) -> Block:
    return Block(ident, title, tuple(_flat(parts)))


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[Line]:
    for name, inner in value.items():
        path = f"{prefix}{name}"
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{path}.")
        elif isinstance(inner, float):
            yield path, f"{inner:.6g}"
        else:
            yield path, "–" if inner is None else str(inner)
