"""The command line of what reads kept runs: report, runs, watch, compare, gate, export."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

from orchestrator.cli import project
from orchestrator.columns import column_names

WORDS = ("report", "runs", "watch", "compare", "gate", "export")
FORMATS = (
    *("csv", "parquet", "junit", "mlflow", "scores-csv", "scores-npz", "scores-safetensors"),
    *("features-csv", "features-npz", "features-safetensors"),
)


def add_parsers(commands: Any) -> None:
    """Add these commands; their parsers carry the function to call as `call`."""

    def command(name: str, function: str, text: str, *, as_json: bool = True) -> Any:
        made = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        made.set_defaults(call=_later(name, function))
        made.add_argument(
            "--runs", metavar="DIR", default=project.RUNS, help="where runs are kept (%(default)s)"
        )
        if as_json:
            made.add_argument("--json", action="store_true", help="for programs")
        return made

    def with_run(made: Any) -> None:
        made.add_argument(
            "run",
            nargs="?",
            default="latest",
            help="a run's name, its beginning, or a path to its folder (%(default)s)",
        )

    made = command("report", "report", "draw a run as one self-contained HTML file")
    with_run(made)
    columns_argument(made)
    made.add_argument("--output", metavar="FILE", help="where to (report.html in its folder)")

    made = command("runs", "runs", "list the runs that are kept")
    made.add_argument("--row", metavar="NAME", help="this row's figures over all runs instead")

    made = command("watch", "watch", "show a run live, or replay one", as_json=False)
    with_run(made)
    made.add_argument(
        "--speed",
        metavar="X",
        type=_speed,
        default=10.0,
        help="how much faster a run that is over is replayed; 0: at once (%(default)g)",
    )

    made = command("compare", "compare", "two runs row by row, by paired statistics")
    made.add_argument("first", metavar="A", help="a run")
    made.add_argument("second", metavar="B", help="another, or `published`: the published table")

    made = command("gate", "gate", "exit code 3 when a run is worse than its baseline")
    with_run(made)
    made.add_argument(
        "--baseline", metavar="RUN", help="compared with (the complete run of this matrix before)"
    )
    made.add_argument(
        "--max-drop",
        metavar="RATE=POINTS",
        action="append",
        default=[],
        help="allowed fall of rank1 or tar in points, such as rank1=0.5; may be repeated",
    )
    made.add_argument(
        "--max-slower",
        metavar="pNN=PERCENT",
        action="append",
        default=[],
        help="allowed slow-down of p50, p90 or p99, such as p50=10%%; may be repeated",
    )

    made.add_argument(
        "--no-confirm",
        dest="confirm",
        action="store_false",
        help="fail on a slow-down without measuring both again, in turns, on the board",
    )

    made = command(
        "export", "export_command", "a run's rows, scores or features for other programs"
    )
    with_run(made)
    made.add_argument(
        "--format",
        metavar="FORMAT",
        type=_format,
        action="append",
        default=[],
        help=f"{', '.join(FORMATS)}; may be repeated (csv and junit; parquet with pyarrow)",
    )
    made.add_argument(
        "--tracking-uri",
        metavar="URI",
        help="MLflow's server or database (MLFLOW_TRACKING_URI, else mlflow.db beside the runs)",
    )
    made.add_argument(
        "--experiment", metavar="NAME", default="farm", help="of MLflow (%(default)s)"
    )
    made.add_argument("--output", metavar="DIR", help="where to (the run's folder)")


COLUMNS = column_names()


def columns_argument(made: Any) -> None:
    """Add `--columns`."""
    made.add_argument(
        "--columns",
        type=_columns,
        metavar="NAME,...",
        default=(),
        help=f"beside the published ones: {', '.join(COLUMNS)} (the matrix's `table: columns:`)",
    )


def _columns(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(","))
    for word in words:
        if word not in COLUMNS:
            raise argparse.ArgumentTypeError(
                f"there is no column {word!r}; there are: {', '.join(COLUMNS)}"
            )
    return words


def _later(module: str, function: str) -> Callable[[argparse.Namespace], int]:
    """A command whose module is imported when it is called: help stays quick."""

    def call(arguments: argparse.Namespace) -> int:
        found: Callable[[argparse.Namespace], int] = getattr(
            import_module(f"orchestrator.cli.{module}"), function
        )
        return found(arguments)

    return call


def _format(text: str) -> str:
    if text not in FORMATS:
        raise argparse.ArgumentTypeError(f"there is no {text!r}; there are: {', '.join(FORMATS)}")
    return text


def _speed(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number from 0 on, not {text!r}")
    return value
