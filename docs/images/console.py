"""Draws console.svg, the README's picture: the live view of a recorded run at one moment.

python docs/images/console.py runs/latest
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from orchestrator.events import EventReader
from orchestrator.reporting.live.console import View

WIDTH = 120
FONT = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


def main() -> None:
    """Write the picture beside this file; the moment is when the second row is complete."""
    console = Console(width=WIDTH, height=34, record=True, file=io.StringIO(), force_terminal=True)
    now = 0.0
    with View(console, clock=lambda: now, detail="verbose") as view:
        rows = 0
        for event in EventReader(Path(sys.argv[1]) / "events.jsonl").new():
            now = event.at
            view.state.apply(event)
            rows += event.event == "cell_finished"
            if rows == 2:
                break
        console.print(view._draw())
    svg = console.export_svg(title="farm run matrix.yaml")
    # A picture fetches no font: the viewer's own monospace does.
    svg = FONT.sub("", svg).replace("Fira Code,", "")
    Path(__file__).with_name("console.svg").write_text(svg)


if __name__ == "__main__":
    main()
