"""Results for other programs: CSV and Parquet tables, JUnit XML for CI."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from orchestrator.audit.sentences import beside_table
from orchestrator.columns import columns as optional_columns
from orchestrator.columns.tasks import judged
from orchestrator.errors import UserError
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.export.scores import KINDS, export_kind
from orchestrator.reporting.tables.causes import NOT_FINISHED
from orchestrator.reporting.tables.table import time_text
from orchestrator.reporting.text import plain
from orchestrator.results import CellResult, Detection, Tar

FILES = {"csv": "results.csv", "parquet": "results.parquet", "junit": "junit.xml"}
_TIMES = ("count", "min_ms", "p50_ms", "p90_ms", "p99_ms", "max_ms", "mean_ms", "mad_ms")

PEOPLE, PICTURES = ("gallery", "probes", "mated", "unknown", "faces"), ("images", "faces")


def flat_row(run: Run, row: CellResult) -> dict[str, Any]:
    """A row as plain columns; a substitute's times stay out, as they do in the table."""
    columns: dict[str, Any] = {"run": run.name}
    for name in (
        *("name", "hardware", "provider", "type", "backend", "board", "kind", "executed_by"),
        *("granularity", "symmetry", "dtype", "calibrator", "mixed", "model", "partial"),
    ):
        columns[name] = getattr(row, name)
    for kind in ("device", "end_to_end"):
        times = getattr(row.latency, kind) if row.latency else None
        for name in _TIMES:
            columns[f"{kind}_{name}"] = getattr(times, name) if times else None
    for rate in judged([row]).rates:
        found = rate.of(row)
        given = not isinstance(found, Tar) or found.available
        for name in ("value", "low", "high"):
            columns[f"{rate.key}{_suffix(name)}"] = getattr(found, name) if given else None
    if row.detection is None:
        for name in ("far_target", "far_achieved", "k", "threshold"):
            columns[f"tar_{name}"] = getattr(row.tar, name)
    else:
        columns |= _of_detection(row.detection)
    for column in optional_columns().values():
        columns |= column.values(row)
    columns |= {
        f"test_set_{name}": value
        for name, value in row.test_set.model_dump().items()
        if name not in (PICTURES if row.detection is None else PEOPLE)
    }
    columns |= {f"test_set_faces_{name}": count for name, count in row.test_set.faces.items()}
    columns["test_set_notes"] = "; ".join(row.test_set.notes)
    columns["test_set_audit"] = " ".join(beside_table([row]))
    for name in ("failed_images", "verdict", "verdict_reason", "artifact_sha256", "artifact_bytes"):
        columns[name] = getattr(row, name)
    columns["warnings"] = "; ".join(row.warnings)
    columns["model_sha256"] = row.provenance.get("model_sha256")
    columns |= {f"key_{k}": v for k, v in sorted(row.provenance.get("keys", {}).items())}
    return columns


def _of_detection(found: Detection) -> dict[str, Any]:
    """What a detector has beside its rates."""
    columns: dict[str, Any] = {"compared_by": found.main, "boxes": found.boxes}
    for name, estimates in (("recall_at", found.recall), ("ap_height", found.ap_by_height)):
        for which, estimate in estimates.items():
            columns[f"{name}_{which.replace(' ', '_')}"] = estimate.value
    for key, value in found.landmark_error.model_dump().items():
        columns[f"landmark_error{_suffix(key)}"] = value
    return columns


def csv_text(run: Run) -> str:
    """All rows as CSV with a heading; empty where there is no figure."""
    rows = [flat_row(run, row) for row in run.results]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_parquet(run: Run, path: Path) -> None:
    """All rows as Parquet.

    Raises:
        UserError: pyarrow is not installed, or there is no row.
    """
    try:
        import pyarrow  # type: ignore[import-untyped,unused-ignore]
        from pyarrow import parquet
    except ImportError:
        raise UserError(
            "Parquet needs pyarrow, which is not installed", "pip install pyarrow"
        ) from None
    rows = [flat_row(run, row) for row in run.results]
    if not rows:
        raise UserError(f"run {run.name} has no finished row: a Parquet file needs one")
    names = dict.fromkeys(name for row in rows for name in row)
    table = pyarrow.table({name: [row.get(name) for row in rows] for name in names})
    parquet.write_table(table, path)


def junit_xml(run: Run) -> str:
    """A test case a row: a row without result is a failure, its figures are properties."""
    suite = ElementTree.Element(
        "testsuite",
        _texts(
            {
                "name": f"farm {run.state.started.matrix if run.state.started else ''}".strip(),
                "tests": len(run.state.cells),
                "failures": len(run.failures),
                "errors": 0,
                "skipped": 0,
                "time": f"{run.seconds:.3f}",
            }
        ),
    )
    rates = judged(run.results).rates
    for name, cell in run.state.cells.items():
        case = ElementTree.SubElement(
            suite, "testcase", _texts({"classname": cell.board or cell.hardware, "name": name})
        )
        row = run.state.results.get(name)
        if row is None:
            reason = plain(run.failures.get(name, NOT_FINISHED))
            failure = ElementTree.SubElement(case, "failure", message=reason.split("\n")[0])
            failure.text = reason
            continue
        properties = ElementTree.SubElement(case, "properties")
        for key, value in (
            ("executed_by", row.executed_by),
            ("Time", time_text(row)),
            *((rate.heading.partition("@")[0], rate.text(row, True)) for rate in rates),
            ("verdict", f"{row.verdict} {row.verdict_reason}".strip()),
            ("artifact_sha256", row.artifact_sha256),
        ):
            ElementTree.SubElement(properties, "property", _texts({"name": key, "value": value}))
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def export(run: Run, folder: Path, formats: tuple[str, ...]) -> list[Path]:
    """Write the files asked for into a folder; returns their paths.

    Raises:
        UserError: a format needs what is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in formats:
        if name in KINDS:
            written += export_kind(run, folder, name)
            continue
        path = folder / FILES[name]
        if name == "csv":
            path.write_text(csv_text(run), encoding="utf-8")
        elif name == "parquet":
            write_parquet(run, path)
        else:
            path.write_text(junit_xml(run), encoding="utf-8")
        written.append(path)
    return written


def _suffix(name: str) -> str:
    return "" if name == "value" else f"_{name}"


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: plain(str(value)) for name, value in values.items()}
