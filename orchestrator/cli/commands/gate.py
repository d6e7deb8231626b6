"""`farm gate`."""

from typing import Literal

import click

from orchestrator.cli.parsing import Section, declare, options, types


@declare(
    "gate",
    "exit code 3 when a run is worse than its baseline",
    section=Section.RESULTS,
    examples=[
        "farm gate --max-drop rank1=0.5 --max-slower p50=10%",
        "farm gate --format github --max-drop rank1=0.5 > comment.md",
        "farm gate latest --baseline 20261127-1200 --max-drop tar=1",
    ],
    text="Exit code 3 when a run is worse than its baseline by more than is allowed. RUN is a "
    "run's name, its beginning, or a path to its folder (the newest with a row).",
)
@options.run
@click.option(
    "--baseline",
    type=types.RUN,
    metavar="RUN",
    help="compared with (the complete run of this matrix before)",
)
@click.option(
    "--max-drop",
    metavar="RATE=POINTS",
    multiple=True,
    help="allowed fall of rank1, tar or, of detectors, ap_hard and the like in points, such as "
    "rank1=0.5; may be repeated",
)
@click.option(
    "--max-slower",
    metavar="pNN=PERCENT",
    multiple=True,
    help="allowed slow-down of p50, p90 or p99, such as p50=10%; may be repeated",
)
@click.option(
    "--no-confirm",
    is_flag=True,
    help="fail on a slow-down without measuring both again, interleaved, on the board",
)
@click.option(
    "--format",
    "form",
    type=types.Word(("text", "json", "github")),
    metavar="FORMAT",
    help="text, json, or github: a comment for a pull request, in Markdown (text)",
)
@options.as_json("the same as --format json")
@options.runs()
def command(
    run: str,
    baseline: str | None,
    max_drop: tuple[str, ...],
    max_slower: tuple[str, ...],
    no_confirm: bool,
    form: Literal["text", "json", "github"] | None,
    as_json: bool,
    runs: str,
) -> int:
    """Judge the run."""
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json and --format {form} do not go together.")
    from pathlib import Path

    from orchestrator.cli.results.gate import gate
    from orchestrator.reporting.analysis.gate import parse_limits

    return gate(
        Path(runs),
        run,
        parse_limits(max_drop, max_slower),
        baseline_name=baseline,
        confirmed=not no_confirm,
        form=form or ("json" if as_json else "text"),
    )
