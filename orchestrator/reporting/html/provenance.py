"""What stands behind each figure of a row, as `name  value` lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.columns.texts import far_text
from orchestrator.results import CellResult

NAME = 36  # characters


def provenance(row: CellResult) -> list[dict[str, str]]:
    """Blocks of lines with the identifier that a figure's link leads to."""
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
        _block("accuracy", "Rank1 and TAR", _accuracy(row)),
    ]
    if row.difference is not None:
        facts = row.difference.model_dump() | {"key": keys.get("compare", "")}
        blocks.append(_block("difference", "Difference from float32", facts))
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


def _accuracy(row: CellResult) -> dict[str, Any]:
    come = row.provenance
    keys = come.get("keys", {})
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


def _block(ident: str, title: str, parts: Mapping[str, Any]) -> dict[str, str]:
    lines = list(_flat(parts))
    width = min(NAME, max((len(name) for name, _ in lines), default=0))
    text = "\n".join(f"{name:<{width}}  {value}" for name, value in lines)
    return {"id": ident, "title": title, "text": text}


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, inner in value.items():
        path = f"{prefix}{name}"
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{path}.")
        elif isinstance(inner, float):
            yield path, f"{inner:.6g}"
        else:
            yield path, "–" if inner is None else str(inner)
