"""The table of the published layout, from results; shared by console and table.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from orchestrator.audit.sentences import beside_table, leak_notes
from orchestrator.columns import asked, columns
from orchestrator.columns.base import Part
from orchestrator.columns.optional.energy import energy_text
from orchestrator.columns.published import published
from orchestrator.columns.tasks import judged
from orchestrator.columns.texts import (
    DASH,
    bytes_text,
    far_text,
    interval,
    milliseconds,
    percent,
    points,
    row_names,
    tar_text,
    time_text,
)
from orchestrator.counting import counted, form
from orchestrator.reporting.tables.causes import causes
from orchestrator.results import YARDSTICK, CellResult, Verdict

__all__ = [
    "DASH",
    "bytes_text",
    "energy_text",
    "far_text",
    "footnotes",
    "html",
    "interval",
    "markdown",
    "parts",
    "percent",
    "points",
    "row",
    "serious_notes",
    "tar_text",
    "time_text",
]

NAMED = 6  # rows that a note of a page names before it counts the others


def parts(names: Sequence[str], results: Sequence[CellResult]) -> list[Part]:
    """The columns of a table: the published ones, those asked for, those that the rows need."""
    return [*published(results), *asked(names, results)]


def row(result: CellResult, of: Sequence[Part], with_interval: bool = True) -> tuple[str, ...]:
    """The texts of a finished row, one a column of `parts`."""
    return tuple(part.text(result, with_interval) for part in of)


def footnotes(
    results: Sequence[CellResult], failures: Mapping[str, str], *, most: int | None = None
) -> list[str]:
    """What must be said beside the figures.

    Args:
        most: so many rows a note names, and so many notes of a kind there are, before the others
            are counted; None names all, as table.md does.
    """
    notes: list[str] = serious_notes(results)
    missing = [f"No result for {_names(c.rows, most)}: {c.what}" for c in causes(failures)]
    if not results:
        return missing
    first = results[0]
    confidence = first.provenance.get("score", {}).get("confidence", 0.95)
    notes.append(f"{judged(results).basis(confidence)}.")
    notes.extend(_differences(results, most))
    notes.extend(_row_notes(results, most))
    notes.extend(_warnings(results, most))
    notes.extend(note for note in beside_table(results) if note not in notes)
    notes.extend(missing)
    if any(result.mixed for result in results):
        notes.append("* mixed mode: float32 model for the gallery, quantized model for the probes.")
    emulated = [result for result in results if result.emulated]
    if emulated:
        notes.append(
            f"{DASH} in Time: no board ran this row. A twin is our model of a vendor's arithmetic, "
            "computed by onnxruntime on this host; a PC's time is not a board's"
            + (
                " (results.json has it as latency_host)."
                if any(result.latency_host for result in emulated)
                else "."
            )
        )
        notes.extend(_shared(emulated, most))
        notes.extend(_parts(note, most) for note in _processors(emulated))
    if any(result.executed_by == "simulator" for result in results):
        notes.append(
            f"{DASH} in Time of a simulator's row: the vendor's simulator on this host executed "
            "it; it tells accuracy and knows no time."
        )
    own = [note for column in columns().values() for note in column.footnotes(results)]
    notes.extend(_parts(note, most) for note in own)
    notes.extend(_different_paces(results, most))
    if any(result.partial for result in results):
        notes.append("(partial): only a part of the test set was used (--limit).")
    helped = [result for result in results if result.helpers]
    notes.extend(f"{result.name}: {result.helpers}" for result in helped[:most])
    notes.extend(_others(helped, most, "has", "such a note"))
    return notes


def _row_notes(results: Sequence[CellResult], most: int | None) -> list[str]:
    """Of each row what only it has: a doubtful time, images that failed."""
    suspect = [r for r in results if r.verdict == Verdict.SUSPECT]
    failed = [r for r in results if _failed(r)]
    name = row_names(results)
    return [
        *(f"{name(r)}: {_doubt(r)}: {r.verdict_reason}." for r in suspect[:most]),
        *_others(suspect, most, "is", Verdict.SUSPECT),
        *(
            f"{name(r)}: {counted(_failed(r), 'image')} failed and "
            f"{'counts as a miss' if _failed(r) == 1 else 'count as misses'}"
            for r in failed[:most]
        ),
        *_others(failed, most, "has", "images that failed"),
    ]


def _failed(row: CellResult) -> int:
    """Images that failed; photos without a face have a warning of their own."""
    lost = row.not_acquired
    return max(row.failed_images - (lost.gallery + lost.probe if lost else 0), 0)


def _names(names: Sequence[str], most: int | None) -> str:
    """`a, b and 480 more rows`, or all of them; one more is named, not counted."""
    if most is None or len(names) <= most + 1:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {counted(len(names) - most, 'more row')} (see table.md)"


def _parts(note: str, most: int | None) -> str:
    """A column's note with a part for each row, `;` between them, or the first of them."""
    parts = note.split("; ")
    if most is None or len(parts) <= most + 1:
        return note
    return f"{'; '.join(parts[:most])}; and {len(parts) - most:,} more (see table.md)"


def _others(rows: Sequence[CellResult], most: int | None, verb: str, what: str) -> list[str]:
    """A note that counts the rows that have no note of their own."""
    left = 0 if most is None else len(rows) - most
    return [f"{counted(left, 'more row')} {form(left, verb)} {what} (see table.md)."] * (left > 0)


def serious_notes(results: Sequence[CellResult]) -> list[str]:
    """Leaks that were allowed, and what of the test set was left out or changed: no table may be
    shown without them."""
    noted = dict.fromkeys(note for result in results for note in result.test_set.notes)
    return [*leak_notes(results), *noted]


def _doubt(result: CellResult) -> str:
    if result.latency is not None:
        return f"its time is {Verdict.SUSPECT}"
    return f"it has no Time, which would be another board's, {Verdict.SUSPECT}"


def _warnings(results: Sequence[CellResult], most: int | None) -> list[str]:
    """Each warning once, with the rows that it is of."""
    rows: dict[str, list[str]] = {}
    name = row_names(results)
    for result in results:
        for warning in result.warnings:
            rows.setdefault(warning, []).append(name(result))
    return [f"{_names(list(dict.fromkeys(names)), most)}: {text}" for text, names in rows.items()]


def _different_paces(results: Sequence[CellResult], most: int | None) -> list[str]:
    """Encoders of one board that were measured while its processor was of different speed."""
    by_board: dict[str, list[tuple[float, str]]] = {}
    name = row_names(results)
    for result in results:
        if result.latency is not None and result.latency.yardstick_ms:
            pair = (result.latency.yardstick_ms, name(result))
            by_board.setdefault(result.board, []).append(pair)
    notes = [
        f"{slow[1]} and {fast[1]} were measured on {board} while its processor was of different "
        f"speed (the same piece of work took {milliseconds(slow[0], 2)} and "
        f"{milliseconds(fast[0], 2)}): compare their times with care."
        for board, pairs in by_board.items()
        if (slow := max(pairs))[0] > (1 + YARDSTICK) * (fast := min(pairs))[0]
    ]
    if most is None or len(notes) <= most:
        return notes
    return [*notes[:most], f"The same holds for {counted(len(notes) - most, 'more board')}."]


def _shared(emulated: Sequence[CellResult], most: int | None) -> list[str]:
    by_artifact: dict[tuple[str, ...], list[str]] = {}
    name_of = row_names(emulated)
    for result in emulated:
        name = name_of(result).rstrip("*")
        before = result.detector.artifact_sha256 if result.detector else ""
        names = by_artifact.setdefault((result.artifact_sha256, before, result.machine), [])
        if name not in names:
            names.append(name)
    return [
        f"{_together(names, most)} share one artifact and one arithmetic here, so their figures "
        "are equal."
        for names in by_artifact.values()
        if len(names) > 1
    ]


def _processors(emulated: Sequence[CellResult]) -> list[str]:
    """What another processor made of a file that this host ran as well."""
    by_machine: dict[str, list[str]] = {}
    name_of = row_names(emulated)
    for result in emulated:
        found = result.provenance.get("parity", {}).get("processor")
        if found:
            name = name_of(result).rstrip("*")
            said = by_machine.setdefault(found["machine"], [])
            words = f"{name} {processor_words(found)}"
            if words not in said:
                said.append(words)
    return [
        f"Processor: {machine}, run by QEMU's user mode, compared with this host, file by file: "
        + "; ".join(said)
        for machine, said in by_machine.items()
    ]


def processor_words(found: Mapping[str, Any]) -> str:
    """Parity's comparison of two processors: `all of 16 features equal to the bit`."""
    count, equal = found["images"], found["bit_equal"]
    there, here = found.get("version"), found.get("version_here")
    apart = f", onnxruntime {there} there and {here} here" if there != here else ""
    if equal == count:
        return f"all of {counted(count, 'feature')} equal to the bit{apart}"
    return (
        f"{equal} of {counted(count, 'feature')} equal to the bit, mean cosine "
        f"{found['mean_cosine']:.6f}, worst {found['worst_cosine']:.6f} (probe image "
        f"{found['worst_image']}){apart}"
    )


def _together(names: Sequence[str], most: int | None) -> str:
    if most is None or len(names) <= most + 1:
        return f"{', '.join(names[:-1])} and {names[-1]}"
    return _names(names, most)


def _differences(results: Sequence[CellResult], most: int | None) -> list[str]:
    compared = [result for result in results if result.difference is not None]
    if not compared:
        return []
    found = judged(results)
    how = f"{found.test}, Holm"
    real = [result for result in compared if result.difference and result.difference.real]
    if not real:
        return [
            f"No row's {found.main.words} differs significantly from float32's ({how} over "
            f"{counted(len(compared), 'comparison')}): do not rank the rows."
        ]
    names = _names(list(map(row_names(results), real)), most)
    return [
        f"↓ ↑ {found.main.words} differs significantly from float32's ({how}, p < 0.05): {names}."
    ]


def html(
    results: Sequence[CellResult], failures: Mapping[str, str], names: Sequence[str] = ()
) -> str:
    """The table and its footnotes as an HTML fragment."""
    texts: list[str] = []
    if results:
        of = parts(names, results)
        heads = "".join(f"<th>{escape(part.heading)}</th>" for part in of)
        rows = (
            "".join(f"<td>{escape(text)}</td>" for text in row(result, of)) for result in results
        )
        body = "".join(f"<tr>{cells}</tr>" for cells in rows)
        texts.append(f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>")
    notes = "".join(f"<li>{escape(note)}</li>" for note in footnotes(results, failures, most=NAMED))
    return "".join([*texts, f"<ul>{notes}</ul>" if notes else ""])


def markdown(
    results: Sequence[CellResult], failures: Mapping[str, str], names: Sequence[str] = ()
) -> str:
    """table.md: the published table's columns, and what must be said beside them."""
    lines: list[str] = []
    if results:
        of = parts(names, results)
        lines.append("| " + " | ".join(part.heading for part in of) + " |")
        lines.append("|" + "---|" * len(of))
        lines.extend("| " + " | ".join(row(result, of)) + " |" for result in results)
        lines.append("")
    lines.extend(f"- {note}" for note in footnotes(results, failures))
    return "\n".join(lines).replace("*", r"\*") + "\n"
