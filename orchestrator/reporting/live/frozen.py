"""A part of a live view that is the same in many frames, rendered once."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment


class Frozen:
    """Shows what it wraps as it was when it was first rendered at that width.

    Args:
        content: must look the same each time.
    """

    def __init__(self, content: RenderableType) -> None:
        self._content = content
        self._drawn: tuple[int, list[Segment]] = (0, [])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, segments = self._drawn
        if width != options.max_width:
            segments = list(console.render(self._content, options))
            self._drawn = options.max_width, segments
        return segments
