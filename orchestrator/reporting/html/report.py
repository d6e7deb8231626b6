"""report.html: one self-contained file from a run's events and what the store holds of it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote

from orchestrator.reporting.analysis.conclusion import conclusion
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.html.chart import Chart
from orchestrator.reporting.html.head import alerts, facts, heading
from orchestrator.reporting.html.provenance import provenances
from orchestrator.reporting.html.rows import columns as columns_of
from orchestrator.reporting.html.rows import table_rows, verdicts
from orchestrator.reporting.html.sections import Section, sections
from orchestrator.reporting.tables.table import NAMED, footnotes
from orchestrator.reporting.text import plain
from orchestrator.version import __version__

if TYPE_CHECKING:
    from markupsafe import Markup

RESULTS = "results.json"
ROOM = "orchestrator.reporting.html"
LIBRARY = ("vendor/vega.min.js", "vendor/vega-lite.min.js", "vendor/vega-interpreter.min.js")


def write_report(run: Run, path: Path, columns: Sequence[str] = ()) -> None:
    """Write the report of a run, replacing an older one in one step."""
    text = report_html(run, columns, results=_link(run.folder / RESULTS, path.parent))
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _link(file: Path, folder: Path) -> str:
    """What leads from a page in `folder` to a file."""
    return quote(PurePath(os.path.relpath(file, folder)).as_posix())


def report_html(run: Run, columns: Sequence[str] = (), *, results: str = RESULTS) -> str:
    """The report as text, with `columns` beside the usual ones.

    What the store no longer has is left out, and said.

    Args:
        results: where the page finds the run's results.json.
    """
    return report_page(run, columns, results=results).text


@dataclass(frozen=True)
class Page:
    """The report, and the content security policy that lets its own scripts run."""

    text: str
    policy: str


def report_page(run: Run, columns: Sequence[str] = (), *, results: str = RESULTS) -> Page:
    """As `report_html`, with the page's policy, for whoever serves it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader(ROOM, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["spec"] = embedded
    found = sections(run)
    drawn = any(section.charts for section in found)
    scripts = [*(LIBRARY if drawn else ()), *(("charts.js",) if drawn else ()), "report.js"]
    sources, style = [source_of(name) for name in scripts], source_of("report.css")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; "
        f"script-src {' '.join(map(_hash, sources))}; base-uri 'none'; form-action 'none'"
    )
    heading_text = heading(run)
    text = environment.get_template("report.html.j2").render(
        title=f"{heading_text}: farm report",
        heading=heading_text,
        conclusion=conclusion(run.results, len(run.state.cells)),
        facts=facts(run),
        alerts=alerts(run),
        parts=_parts(found, bool(run.results)),
        columns=columns_of(run.results, columns),
        rows=table_rows(run.results, columns),
        verdict_line=verdicts(run.results),
        notes=[plain(note) for note in footnotes(run.results, run.failures, most=NAMED)],
        provenance=provenances(run.results),
        results=results,
        sections=found,
        scripts=[Markup(source) for source in sources],
        style=Markup(style),
        policy=Markup(policy),
        footer=f"Made by farm {__version__} from {run.folder.name}/events.jsonl and the store.",
    )
    return Page(text, policy)


def _parts(found: Sequence[Section], rows: bool) -> list[tuple[str, str]]:
    parts = [("table", "Table"), *((section.id, section.title) for section in found)]
    return [*parts, ("provenance", "Where the figures come from")] if rows else parts


def source_of(name: str) -> str:
    """A file of this room as it stands within a <script> or <style>."""
    text = resources.files(ROOM).joinpath(name).read_text("utf-8")
    # The map of a minified file is not there, and nothing may be fetched.
    return re.sub(r"^//# sourceMappingURL=.*$", "", text, flags=re.MULTILINE).strip()


def _hash(source: str) -> str:
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def embedded(chart: Chart) -> Markup:
    """A specification as JSON that cannot end the element it stands in."""
    from markupsafe import Markup

    text = json.dumps(chart.spec, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))
