"""Draws the README's pictures of a recorded run: console.svg, the live view at one moment, and
card.svg, what the run ends with.

make pictures RUN=runs/latest
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from orchestrator.events import EventReader, StepProgress
from orchestrator.reporting.analysis.history import load_run
from orchestrator.reporting.live.card import print_card
from orchestrator.reporting.live.console import View
from orchestrator.reporting.live.ending import last_words

WIDTH, CARD_WIDTH = 120, 100
SHARE = 0.6
FONT = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


def recorder(width: int) -> Console:
    """A terminal of this width that remembers what was drawn."""
    return Console(width=width, height=34, record=True, file=io.StringIO(), force_terminal=True)


def live_view(folder: Path) -> Console:
    """The live view when a row is complete and the next ones are well under way."""
    console = recorder(WIDTH)
    now = 0.0
    with View(console, clock=lambda: now, detail="verbose") as view:
        rows = 0
        for event in EventReader(folder / "events.jsonl").new():
            now = event.at
            view.state.apply(event)
            rows += event.event == "cell_finished"
            if not rows or not isinstance(event, StepProgress) or "/probe" not in event.step:
                continue
            if event.done > SHARE * event.total:
                break
        console.print(view._draw())
    return console


def end_card(folder: Path) -> Console:
    """The table, its notes, the conclusion and the last words."""
    console, run = recorder(CARD_WIDTH), load_run(folder)
    print_card(console, run.results, len(run.state.cells))
    console.print()
    ended = run.state.finished
    for line in last_words(run.state, run.name, ended.exit_code if ended is not None else 0):
        console.print(Text(line), soft_wrap=True)
    return console


def main() -> None:
    """Write the pictures beside this file."""
    folder = Path(sys.argv[1])
    for name, console in (("console", live_view(folder)), ("card", end_card(folder))):
        svg = console.export_svg(title="farm run matrix.yaml")
        # A picture fetches no font: the viewer's own monospace does.
        svg = FONT.sub("", svg).replace("Fira Code,", "")
        Path(__file__).with_name(f"{name}.svg").write_text(svg)


if __name__ == "__main__":
    main()
