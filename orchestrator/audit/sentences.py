"""The audit's findings in words: for plan, console, table, report and refusals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.results import AuditExample, AuditFinding, CellResult

SHOWN = 5
SAID_ELSEWHERE = frozenset({"false-alarms", "without-probe"})
"""Notes of these kinds stand beside a table in other words already."""


def shown_name(name: str) -> str:
    """A file's name that can be printed and written as UTF-8, whatever bytes it has."""
    clean = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in clean)


def example_words(example: AuditExample) -> str:
    """`probe a/1.png = gallery a/0.png`; `~` and the bits for two that are near-identical."""
    words = [f"{image.role} {image.name}" for image in example.images]
    if example.bits is None:
        return " = ".join(words)
    return f"{' ~ '.join(words)} ({example.bits} of 256 bits differ)"


def example_lines(finding: AuditFinding) -> list[str]:
    """The first few examples, and how many more there are."""
    lines = [example_words(example) for example in finding.examples[:SHOWN]]
    more = finding.count - len(lines)
    return [*lines, f"and {more:,} more"] if lines and more > 0 else lines


def shortened(finding: AuditFinding) -> AuditFinding:
    """With a few examples only: it stands in every row."""
    return finding.model_copy(update={"examples": finding.examples[:SHOWN]})


def heading(finding: AuditFinding) -> str:
    """`LEAK (allowed): 3 of 30 probes ...`."""
    allowed = " (allowed)" if finding.allowed else ""
    return f"{finding.severity.upper()}{allowed}: {finding.sentence}"


def beside_table(results: Iterable[CellResult]) -> list[str]:
    """What the audit says below a table, each thing once."""
    findings = [finding for result in results for finding in result.test_set.audit]
    return list(dict.fromkeys(_beside(finding) for finding in findings if _is_shown(finding)))


def leak_notes(results: Iterable[CellResult]) -> list[str]:
    """Allowed leaks only, for tables of differences."""
    findings = [finding for result in results for finding in result.test_set.audit]
    return list(dict.fromkeys(_beside(one) for one in findings if one.severity == "leak"))


def refusal(found: Sequence[AuditFinding]) -> str:
    """The leaks of a test set with their first images, a line each."""
    lines = []
    for finding in found:
        lines.append(f"leak: {finding.sentence}")
        lines += [f"  {line}" for line in example_lines(finding)]
    return "\n".join(lines)


def _is_shown(finding: AuditFinding) -> bool:
    return finding.severity != "note" or finding.kind not in SAID_ELSEWHERE


def _beside(finding: AuditFinding) -> str:
    allowed = " (allow_leaks: true)" if finding.allowed else ""
    prefix = "LEAK in the test set" if finding.severity == "leak" else "Test set"
    return f"{prefix}{allowed}: {finding.sentence}."
