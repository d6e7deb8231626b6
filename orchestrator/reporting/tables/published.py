"""The published table, shipped as a file: shown beside a run, never subtracted from one."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

NOT_COMPARABLE = "different model and test set: not comparable"


@dataclass(frozen=True)
class PublishedRow:
    """A row as printed; times in milliseconds, rates in percent."""

    hardware: str
    provider: str
    type: str
    backend: str
    time_ms: float
    granularity: str
    symmetry: str
    rank1: float
    tar: float


@dataclass(frozen=True)
class Published:
    """The table and what is known of how it was made."""

    source: str
    model: str
    test_set: str
    far: float
    rows: tuple[PublishedRow, ...]

    def row(self, hardware: str) -> PublishedRow | None:
        """The row of that Hardware text, or None."""
        return next((row for row in self.rows if row.hardware == hardware), None)


def load_published() -> Published:
    """The table that is packaged with farm."""
    from ruamel.yaml import YAML

    text = (
        resources.files("orchestrator.reporting.tables")
        .joinpath("published.yaml")
        .read_text("utf-8")
    )
    data = YAML(typ="safe").load(text)
    rows = tuple(
        PublishedRow(**dict(zip(data["columns"], row, strict=True))) for row in data["rows"]
    )
    return Published(
        source=data["source"],
        model=data["model"],
        test_set=data["test_set"],
        far=float(data["far"]),
        rows=rows,
    )
