"""A run's events for a program: one JSON object a line on standard output, as they happen."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from orchestrator.events import Event
from orchestrator.reporting.live.console import Detail, View


class EventLines(View):
    """Prints each event as the event log has it, and nothing else.

    Args:
        console: where messages go; not standard output.
        detail: `quiet` leaves out the messages that only inform.
    """

    def __init__(self, console: Console, detail: Detail = "usual") -> None:
        super().__init__(console, detail=detail)
        self._messages = console
        self._quiet = detail == "quiet"

    def __enter__(self) -> EventLines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, event: Event) -> None:
        """Print an event."""
        self.recall(event)
        print(event.model_dump_json(), flush=True)

    def say(self, text: str, style: str = "") -> None:
        """A message to the person, beside the events."""
        if not (self._quiet and style == "dim"):
            self._messages.print(Text(text, style=style), soft_wrap=True)
