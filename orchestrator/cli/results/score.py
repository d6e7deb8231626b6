"""`farm score`: kept runs, or features made elsewhere, rescored; no board is needed."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from orchestrator.errors import ToolchainError, UserError


@dataclass(frozen=True)
class ToScore:
    """What `farm score` was told; None and empty where it was told nothing.

    Attributes:
        run: a kept run.
        runs: where runs are kept.
        gallery, probes: rows, or files of features and lists.
        features, templates: files of IJB's form.
    """

    run: str | None
    runs: Path
    far: tuple[float, ...]
    fusion: Literal["mean", "max"] | None
    confidence: float | None
    bootstrap: int | None
    seed: int | None
    gallery: tuple[str, ...]
    probes: tuple[str, ...]
    features: str | None
    templates: str | None
    distractors: int | None
    row: tuple[str, ...]
    cross: bool
    columns: tuple[str, ...]
    output: str | None
    as_json: bool


def score(arguments: ToScore) -> int:
    """Score and print; returns the exit code.

    Raises:
        UserError: arguments that do not go together, or features that cannot be scored.
    """
    if arguments.bootstrap is not None and arguments.bootstrap < 100:
        raise UserError(f"--bootstrap {arguments.bootstrap}: at least 100 are needed")
    if arguments.confidence == 1:
        raise UserError("--confidence 1: an interval that is always right would hold everything")
    if arguments.probes or arguments.features or arguments.templates:
        return _outside(arguments)
    if len(arguments.gallery) > 1:
        raise UserError(
            f"--gallery {' '.join(arguments.gallery)}: one row is expected, or two files "
            "together with --probes NPY LIST",
            "the run's name stands before --gallery: farm score RUN --gallery ROW",
        )
    return _rescored(arguments)


def _rescored(arguments: ToScore) -> int:
    from orchestrator.cli.results.taking import take
    from orchestrator.reporting.analysis.rescoring import Asked, rescore
    from orchestrator.store.run_folder import LATEST

    runs = arguments.runs
    run = take(runs, arguments.run or LATEST)
    named = arguments.gallery[0] if arguments.gallery else ""
    other, _, row = named.rpartition(":")
    asked = Asked(
        far=tuple(dict.fromkeys(arguments.far)),
        fusion=arguments.fusion,
        confidence=arguments.confidence,
        bootstrap=arguments.bootstrap,
        seed=arguments.seed,
        gallery=row,
        distractors=arguments.distractors,
        rows=tuple(arguments.row),
    )
    if arguments.cross:
        return _cross(arguments, run, asked)
    gallery_run = take(runs, other) if other else None
    with _progress(arguments) as progress:
        found = rescore(run, asked, gallery_run, progress)
    label = asked.label if gallery_run is None else f"{asked.label}_of-{gallery_run.name}"
    folder = Path(arguments.output) if arguments.output else run.folder / "scored" / label
    from orchestrator.reporting.export.files import write_table

    about = {"run": run.name, "asked": asked.to_json()}
    if gallery_run is not None:
        about["gallery_run"] = gallery_run.name
    with _writing(folder):
        columns = arguments.columns or run.columns
        document = write_table(folder, found.results, about, columns)
        for name, searches in found.searches.items():
            path = folder / f"{name}.searches.npz"  # a row's name may have a slash
            path.parent.mkdir(parents=True, exist_ok=True)
            searches.save(path)
    if arguments.as_json:
        print(json.dumps(document, indent=1, allow_nan=False))
        return 0
    _show(found.results, folder, columns)
    return 0


def _cross(arguments: ToScore, run: Any, asked: Any) -> int:
    from rich.console import Console

    from orchestrator.audit.sentences import leak_notes
    from orchestrator.reporting.analysis.crossing import cross_run
    from orchestrator.reporting.tables.crosstable import (
        CROSS,
        cross_text,
        print_cross,
        scored_tables,
    )

    if asked.gallery or asked.distractors is not None:
        raise UserError(
            "--cross takes every gallery of the run", "leave --gallery and --distractors out"
        )
    with _progress(arguments) as progress:
        tables = cross_run(run, asked, progress)
    folder = Path(arguments.output) if arguments.output else run.folder / "scored"
    leaks = leak_notes(run.results)
    document = {"run": run.name, "asked": asked.to_json(), "tables": tables, "leaks": leaks}
    with _writing(folder):
        text = json.dumps(document, indent=1, allow_nan=False) + "\n"
        (folder / CROSS).write_text(text)
    if arguments.as_json:
        print(text, end="")
        return 0
    console = Console(highlight=False)
    if console.is_terminal:
        print_cross(console, folder / CROSS)
    else:
        print("\n\n".join(cross_text(table) for table in scored_tables(folder / CROSS)))
    for note in leaks:
        print(f"\n{note}")
    print(f"\n{folder / CROSS}; `farm report` shows it")
    return 0


def _outside(arguments: ToScore) -> int:
    from orchestrator.stages import external_features
    from orchestrator.stages.score import figures, search

    if arguments.run or arguments.cross or arguments.row or arguments.distractors is not None:
        raise UserError(
            "a run, --row, --cross and --distractors do not go with features made elsewhere",
            "farm score --gallery g.npy g.csv --probes p.npy p.csv",
        )
    gallery, probes = arguments.gallery, arguments.probes
    if arguments.features or arguments.templates:
        lists = [arguments.features, arguments.templates, *gallery, *probes]
        paths = [Path(each) for each in lists if each is not None]
        if len(paths) < len(lists) or (len(gallery), len(probes)) != (1, 1):
            raise UserError(
                "IJB-style lists need all of --features NPY --templates LIST --gallery LIST "
                "--probes LIST"
            )
        sides = external_features.read_templates(*paths)
    else:
        if (len(gallery), len(probes)) != (2, 2):
            raise UserError(
                "--gallery and --probes need two files each: a .npy and the list of identities",
                "farm score --gallery g.npy g.csv --probes p.npy p.csv",
            )
        sides = (
            external_features.read_side(*map(Path, gallery)),
            external_features.read_side(*map(Path, probes)),
        )
    external_features.check_names(sides)
    rates = list(dict.fromkeys(arguments.far)) or [1e-3, 1e-1, 1e-2, 1e-4]
    fusion = arguments.fusion or "mean"
    policy = {
        "far": rates,
        "table_far": rates[0],
        "fusion": fusion,
        "confidence": arguments.confidence or 0.95,
        "bootstrap": arguments.bootstrap or 1000,
        "seed": arguments.seed or 0,
    }
    with _progress(arguments) as progress:
        report = (lambda done, total: progress("search", done, total)) if progress else None
        searches, warnings = search(*sides, fusion, report)
    facts = figures(searches, policy, warnings) | {"policy": policy}
    if arguments.output:
        folder = Path(arguments.output)
        with _writing(folder):
            (folder / "scores.json").write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n")
            searches.save(folder / "searches.npz")
    if arguments.as_json:
        print(json.dumps(facts, indent=1, allow_nan=False))
    else:
        print(_facts_text(facts))
    return 0


def _facts_text(facts: dict[str, Any]) -> str:
    from orchestrator.reporting.tables.table import far_text, interval, tar_text
    from orchestrator.results import Estimate, Tar

    lines = [f"Rank1             {interval(Estimate.model_validate(facts['rank1']))}"]
    lines += [
        f"{f'TAR@FAR<={far_text(tar.far_target)}':<17} {tar_text(tar)}   K = {tar.k}"
        for tar in map(Tar.model_validate, facts["tar_all"])
    ]
    lines.append(
        f"\n1:N over {facts['gallery']:,} enrolled identities, {facts['mated']:,} mated and "
        f"{facts['unknown']:,} unknown probes; [{100 * facts['policy']['confidence']:g} % "
        "interval]; FAR is per search; the threshold allows K false alarms."
    )
    if facts["failed"]:
        lines.append(f"{facts['failed']:,} images failed and count as misses.")
    return "\n".join([*lines, *(f"warning: {warning}" for warning in facts["warnings"])])


def _show(results: Any, folder: Path, columns: Sequence[str]) -> None:
    from rich.console import Console

    from orchestrator.reporting.live.console import print_table

    console = Console(highlight=False)
    print_table(console, results, {}, columns)
    console.print(f"\n{folder}/table.md, results.json", style="dim", soft_wrap=True)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ToolchainError(
            f"{folder}: cannot be written: {error.strerror}", "say where with --output DIR"
        ) from error


@contextlib.contextmanager
def _progress(arguments: ToScore) -> Iterator[Callable[[str, int, int], None] | None]:
    """A line on the terminal while features are searched; nothing where nobody looks."""
    if arguments.as_json or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done, total=total)

        yield show
