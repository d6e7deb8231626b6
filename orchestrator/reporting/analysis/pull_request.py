"""A gate's judgement as a pull request's comment, in GitHub's Markdown."""

from __future__ import annotations

from orchestrator.columns.tasks import judged
from orchestrator.counting import counted
from orchestrator.reporting.analysis.compare import RunComparison
from orchestrator.reporting.analysis.gate import Judgement, Limits, Remark
from orchestrator.reporting.analysis.pairing import Change, RowPair
from orchestrator.reporting.tables.table import DASH, time_text

MARKER = "<!-- farm-gate -->"
WORDS = {"fail": "FAIL", "warn": "not sure", "unjudged": "not judged", "left": "left out"}
SIGNS = {"FAIL": "❌ FAIL", "not sure": "⚠️ not sure", "passed": "✅ passed"}


def comment(compared: RunComparison, judgement: Judgement, limits: Limits) -> str:
    """The comment; its first line is a marker by which a bot finds it again.

    Args:
        compared: the baseline first, then the run that was judged.
        judgement: of that comparison.
        limits: what was allowed.
    """
    word = "passed" if judgement.passed else "failed"
    lines = [
        MARKER,
        f"### farm gate {word}: {_code(compared.second)} against {_code(compared.first)}",
        "",
        f"{counted(judgement.judged, 'figure')} judged. Allowed: {_allowed(limits)}.",
        "",
    ]
    if compared.rows or judgement.remarks:
        lines += [*_table(compared, judgement, limits), ""]
    lines += _details("Why it failed", judgement.failures, opened=True)
    lines += _details("What could not be judged", judgement.warnings)
    over = judged([pair.first for pair in compared.rows]).over
    lines += _details("Left out", judgement.left_out)
    lines += [
        f"<sub>Differences in points with their 95 % interval, paired over {over}; times "
        "are ratios of p50. Bold: significant (Holm over the rows).</sub>"
    ]
    return "\n".join(lines) + "\n"


def nothing(run: str, why: str) -> str:
    """The comment of a run that has no row to judge."""
    head = f"### farm gate failed: {_code(run)} has no row to judge"
    return "\n".join([MARKER, head, "", _text(why)]) + "\n"


def _table(compared: RunComparison, judgement: Judgement, limits: Limits) -> list[str]:
    """A line a row: both figures and the difference for each that is judged, and the verdict."""
    rates = judged([pair.first for pair in compared.rows]).rates
    names = {rate.key: rate.words for rate in rates} | {"p50": "p50"}
    figures: list[str] = [rate.key for rate in rates if rate.key in limits.max_drop]
    if limits.max_slower:
        figures.append("p50")
    heads = [f"{names[f]}: {what}" for f in figures for what in ("baseline", "now", "difference")]
    lines = [
        "| " + " | ".join(["Row", *heads, "Verdict", "Reason"]) + " |",
        "|---|" + "--:|" * len(heads) + "---|---|",
    ]
    of_row: dict[str, list[Remark]] = {}
    for remark in judgement.remarks:
        of_row.setdefault(remark.row, []).append(remark)
    for pair in compared.rows:
        cells = [cell for figure in figures for cell in _figure(pair, figure)]
        lines.append(_line(pair.name, cells, of_row.get(pair.name, [])))
    there = {pair.name for pair in compared.rows}
    for name, remarks in of_row.items():
        if name not in there:
            lines.append(_line(name, [DASH] * len(heads), remarks))
    return lines


def _line(name: str, cells: list[str], remarks: list[Remark]) -> str:
    found = [WORDS[each.level] for each in remarks]
    verdict = next((word for word in WORDS.values() if word in found), "passed")
    if verdict == "left out" and any(cell not in ("", DASH) for cell in cells):
        verdict = "passed"  # its accuracy was judged; only its time was not
    reason = "; ".join(_text(each.text) for each in remarks)
    return "| " + " | ".join([_code(name), *cells, SIGNS.get(verdict, verdict), reason]) + " |"


def _figure(pair: RowPair, figure: str) -> tuple[str, str, str]:
    first, second = pair.first, pair.second
    if figure == "p50":
        slower = (pair.time or {}).get(50)
        if slower is None:
            return DASH, DASH, DASH
        change = f"{100 * (slower.ratio - 1):+.1f} %"
        return time_text(first), time_text(second), change
    rate = next((rate for rate in judged([first]).rates if rate.key == figure), None)
    if rate is None:
        return DASH, DASH, DASH
    return rate.text(first, False), rate.text(second, False), _change(pair.changes.get(figure))


def _change(change: Change | None) -> str:
    if change is None:
        return DASH
    points = f"{100 * change.value:+.2f}"
    shown = f"**{points}**" if change.real else points
    return f"{shown} [{100 * change.low:+.2f}, {100 * change.high:+.2f}]"


def _allowed(limits: Limits) -> str:
    drops = [f"{name} down by {limit:g} points" for name, limit in limits.max_drop.items()]
    times = [f"p{which} up by {limit:g} %" for which, limit in limits.max_slower.items()]
    return ", ".join([*drops, *times])


def _details(title: str, texts: tuple[str, ...], *, opened: bool = False) -> list[str]:
    if not texts:
        return []
    head = f"<details{' open' if opened else ''}><summary>{title} ({len(texts)})</summary>"
    return [head, "", *(f"- {_text(text)}" for text in texts), "", "</details>", ""]


def _code(name: str) -> str:
    """A name as it is, whatever is in it."""
    return f"`{name.replace('`', chr(39)).replace('|', '/')}`"


def _text(text: str) -> str:
    """Text that neither Markdown nor HTML reads anything into, on one line."""
    plain = " ".join(text.split())
    for sign, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        plain = plain.replace(sign, written)
    for sign in "\\`*_[]|@#":
        plain = plain.replace(sign, f"\\{sign}")
    return plain
