"""The table of the published layout, from results; shared by console and table.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from orchestrator.audit.words import beside_table, leak_notes
from orchestrator.reporting.tables.causes import causes
from orchestrator.results import YARDSTICK, CellResult, Estimate, Tar

COLUMNS = (
    "Hardware",
    "Provider",
    "Type",
    "Backend",
    "Time",
    "Granularity",
    "Symmetry",
    "Rank1",
    "TAR@FAR<={far}",
)
DASH = "–"


@dataclass(frozen=True)
class Row:
    """A row's texts, in the order of `COLUMNS`; `low` and `high` of the rates beside them."""

    cells: tuple[str, ...]
    executed_by: str
    complete: bool


def far_text(far: float) -> str:
    """`1e-3` for 0.001."""
    mantissa, _, exponent = f"{far:.0e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def percent(value: float | None) -> str:
    """`80.94` for 0.8094."""
    return DASH if value is None else f"{100 * value:.2f}"


def interval(estimate: Estimate) -> str:
    """`80.94 [80.6, 81.3]`."""
    if estimate.value is None:
        return DASH
    if estimate.low is None or estimate.high is None:
        return percent(estimate.value)
    return f"{percent(estimate.value)} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def time_text(result: CellResult, with_reasons: bool = True) -> str:
    """The Time column: the p50 of a board; never that of a host or another board in its place.

    A suspect time carries its reasons in a word each, `16.2 ms SUSPECT (throttled)`.
    """
    if result.latency is None and result.verdict != "SUSPECT":
        return DASH
    text = DASH if result.latency is None else f"{result.latency.device.p50_ms:.1f} ms"
    if result.verdict == "VALID":
        return text
    if not with_reasons:
        return f"{text} {result.verdict}"
    reasons = result.verdict_reasons or [result.verdict_reason]
    words = [reason.partition(":")[0] for reason in reasons if reason]
    return f"{text} {result.verdict}" + (f" ({', '.join(words)})" if words else "")


def energy_text(result: CellResult) -> str:
    """Energy of one inference and its rail, `45.2 mJ (VDD_IN, 9.1 W)`; empty where not measured."""
    energy = result.latency.energy if result.latency is not None else None
    if energy is None:
        return ""
    return f"{1e3 * energy.inference_j:.3g} mJ ({energy.rail}, {energy.mean_w:.1f} W)"


def tar_text(tar: Tar, with_interval: bool = True) -> str:
    """The TAR column, or n/a where the target allows no false alarm at all."""
    if not tar.available:
        return "n/a (n<1/FAR)" if with_interval else "n/a"
    return interval(tar) if with_interval else percent(tar.value)


def points(estimate: Estimate, with_interval: bool = True) -> str:
    """A difference in percentage points: `-0.23 [-0.9, +0.4]`."""
    if estimate.value is None:
        return DASH
    text = f"{100 * estimate.value:+.2f}"
    if not with_interval or estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}]"


def bytes_text(count: int | None) -> str:
    """`3.9 MB` for 3,866,838."""
    return DASH if count is None else f"{count / 1e6:.1f} MB"


def _difference(name: str) -> Callable[[CellResult, bool], str]:
    def text(result: CellResult, with_interval: bool) -> str:
        if result.difference is None:
            return DASH
        return points(getattr(result.difference, name), with_interval)

    return text


def _memory(result: CellResult, with_interval: bool) -> str:
    """Of a board only: what a process takes on this host says nothing of a board."""
    return DASH if result.latency is None else bytes_text(result.latency.peak_memory_bytes)


EXTRA: dict[str, tuple[tuple[str, Callable[[CellResult, bool], str]], ...]] = {
    "difference": (
        ("Δ Rank1 (points)", _difference("rank1")),
        ("Δ TAR (points)", _difference("tar")),
    ),
    "size": (("Size", lambda result, _: bytes_text(result.artifact_bytes)),),
    "memory": (("Peak memory", _memory),),
    "energy": (("Energy", lambda result, _: energy_text(result) or DASH),),
    "model": (("Model", lambda result, _: result.model),),
}
"""Columns beside the published ones, by the word that asks for them: heading, and its text."""


def extra(
    columns: Sequence[str], results: Iterable[CellResult]
) -> list[tuple[str, Callable[[CellResult, bool], str]]]:
    """The columns asked for, and the model's name where there are several models."""
    wanted = list(dict.fromkeys(columns))
    if len({result.model for result in results}) > 1 and "model" not in wanted:
        wanted.append("model")
    return [column for name in wanted for column in EXTRA[name]]


def row(
    result: CellResult,
    with_interval: bool = True,
    columns: Sequence[tuple[str, Callable[[CellResult, bool], str]]] = (),
) -> tuple[str, ...]:
    """The texts of a finished row; `columns` from `extra`."""
    rank1 = interval(result.rank1) if with_interval else percent(result.rank1.value)
    mark = ""
    if result.difference is not None and result.difference.real:
        mark = " ↓" if (result.difference.rank1.value or 0) < 0 else " ↑"
    return (
        result.hardware + (" (partial)" if result.partial else ""),
        result.provider,
        result.type,
        result.backend,
        time_text(result, with_reasons=with_interval),
        result.granularity or "-",
        result.symmetry or "-",
        rank1 + mark,
        tar_text(result.tar, with_interval),
        *(text(result, with_interval) for _, text in columns),
    )


def headings(
    results: Iterable[CellResult],
    columns: Sequence[tuple[str, Callable[[CellResult, bool], str]]] = (),
) -> tuple[str, ...]:
    """The columns' names; TAR's carries the FAR that was asked for."""
    far = next((result.tar.far_target for result in results), 1e-3)
    published = tuple(column.format(far=far_text(far)) for column in COLUMNS)
    return (*published, *(name for name, _ in columns))


def footnotes(results: Sequence[CellResult], failures: Mapping[str, str]) -> list[str]:
    """What must be said beside the figures."""
    notes: list[str] = serious_notes(results)
    missing = [f"No result for {', '.join(c.rows)}: {c.what}" for c in causes(failures)]
    if not results:
        return missing
    first = results[0]
    test = first.test_set
    difficulty = (
        "" if test.difficulty is None else f", rendered faces of difficulty {test.difficulty:g}"
    )
    tar = first.tar
    confidence = first.provenance.get("score", {}).get("confidence", 0.95)
    notes.append(
        f"1:N over {test.gallery:,} enrolled identities, {test.mated:,} mated and "
        f"{test.unknown:,} unknown probes{difficulty}; [{100 * confidence:g} % interval]; "
        f"FAR is per search; the threshold allows {tar.k} false alarm{'s' * (tar.k != 1)}."
    )
    notes.extend(_differences(results))
    suspect = [r for r in results if r.verdict == "SUSPECT"]
    notes.extend(f"{_named(r, results)}: {_doubt(r)}: {r.verdict_reason}." for r in suspect)
    notes.extend(
        f"{result.hardware}: {result.failed_images} images failed and count as misses"
        for result in results
        if result.failed_images
    )
    notes.extend(_warnings(results))
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
        notes.extend(_shared(emulated))
    if any(result.executed_by == "simulator" for result in results):
        notes.append(
            f"{DASH} in Time of a simulator's row: the vendor's simulator on this host executed "
            "it; it tells accuracy and knows no time."
        )
    drawn = {_named(r, results).rstrip("*"): energy_text(r) for r in results if energy_text(r)}
    if drawn:
        listed = "; ".join(f"{name} {text}" for name, text in drawn.items())
        notes.append(f"Energy of one inference, the board's idle power included: {listed}.")
    notes.extend(_different_paces(results))
    if any(result.partial for result in results):
        notes.append("(partial): only a part of the test set was used (--limit).")
    notes.extend(f"{r.name}: {r.helpers}" for r in results if r.helpers)
    return notes


def serious_notes(results: Sequence[CellResult]) -> list[str]:
    """Leaks that were allowed, and what of the test set was left out or changed: no table may be
    shown without them."""
    noted = dict.fromkeys(note for result in results for note in result.test_set.notes)
    return [*leak_notes(results), *noted]


def _doubt(result: CellResult) -> str:
    if result.latency is not None:
        return "its time is SUSPECT"
    return "it has no Time, which would be another board's, SUSPECT"


def _named(result: CellResult, results: Sequence[CellResult]) -> str:
    """The row's hardware, with its quantization where several rows have that hardware."""
    if sum(other.hardware == result.hardware for other in results) < 2:
        return result.hardware
    words = (result.hardware, result.dtype, result.granularity, result.symmetry)
    return " ".join(word for word in words if word)


def _warnings(results: Sequence[CellResult]) -> list[str]:
    """Each warning once, with the rows that it is of."""
    rows: dict[str, list[str]] = {}
    for result in results:
        for warning in result.warnings:
            rows.setdefault(warning, []).append(result.hardware)
    return [f"{', '.join(dict.fromkeys(names))}: {text}" for text, names in rows.items()]


def _different_paces(results: Sequence[CellResult]) -> list[str]:
    """Encoders of one board that were measured while its processor was of different speed."""
    by_board: dict[str, list[tuple[float, str]]] = {}
    for result in results:
        if result.latency is not None and result.latency.yardstick_ms:
            pair = (result.latency.yardstick_ms, _named(result, results))
            by_board.setdefault(result.board, []).append(pair)
    return [
        f"{slow[1]} and {fast[1]} were measured on {board} while its processor was of different "
        f"speed (the same piece of work took {slow[0]:.2f} and {fast[0]:.2f} ms): compare their "
        "times with care."
        for board, pairs in by_board.items()
        if (slow := max(pairs))[0] > (1 + YARDSTICK) * (fast := min(pairs))[0]
    ]


def _shared(emulated: Sequence[CellResult]) -> list[str]:
    by_artifact: dict[str, list[str]] = {}
    for result in emulated:
        name = result.hardware.rstrip("*")
        names = by_artifact.setdefault(result.artifact_sha256, [])
        if name not in names:
            names.append(name)
    return [
        f"{', '.join(names[:-1])} and {names[-1]} share one artifact and one arithmetic here, "
        "so their figures are equal."
        for names in by_artifact.values()
        if len(names) > 1
    ]


def _differences(results: Sequence[CellResult]) -> list[str]:
    compared = [result for result in results if result.difference is not None]
    if not compared:
        return []
    real = [result for result in compared if result.difference and result.difference.real]
    if not real:
        return [
            "No row's Rank-1 differs significantly from float32's (McNemar, Holm over "
            f"{len(compared)} comparisons): do not rank the rows."
        ]
    names = ", ".join(result.hardware for result in real)
    return [f"↓ ↑ Rank-1 differs significantly from float32's (McNemar, Holm, p < 0.05): {names}."]


def html(
    results: Sequence[CellResult], failures: Mapping[str, str], columns: Sequence[str] = ()
) -> str:
    """The table and its footnotes as an HTML fragment."""
    parts: list[str] = []
    if results:
        more = extra(columns, results)
        heads = "".join(f"<th>{escape(name)}</th>" for name in headings(results, more))
        rows = (
            "".join(f"<td>{escape(text)}</td>" for text in row(result, columns=more))
            for result in results
        )
        body = "".join(f"<tr>{cells}</tr>" for cells in rows)
        parts.append(f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>")
    notes = "".join(f"<li>{escape(note)}</li>" for note in footnotes(results, failures))
    return "".join([*parts, f"<ul>{notes}</ul>" if notes else ""])


def markdown(
    results: Sequence[CellResult], failures: Mapping[str, str], columns: Sequence[str] = ()
) -> str:
    """table.md: the published table's columns, and what must be said beside them."""
    lines: list[str] = []
    if results:
        more = extra(columns, results)
        names = headings(results, more)
        lines.append("| " + " | ".join(names) + " |")
        lines.append("|" + "---|" * len(names))
        lines.extend("| " + " | ".join(row(result, columns=more)) + " |" for result in results)
        lines.append("")
    lines.extend(f"- {note}" for note in footnotes(results, failures))
    return "\n".join(lines).replace("*", r"\*") + "\n"
