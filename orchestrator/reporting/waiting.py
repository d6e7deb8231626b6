"""Reasons of waiting in words."""

from __future__ import annotations

from orchestrator.events import Waiting

THIS_HOST = "this-host"


def waiting_text(event: Waiting) -> str:
    """Why somebody waits; empty where nothing is waited for."""
    place = "this host" if event.domain == THIS_HOST else event.domain
    return {
        "": "",
        "ray": "starting Ray",
        "input": f"waiting for {event.subject}",
        "measurement": f"waiting: {place} is being measured",
        "alone": f"waiting to be alone on {place} (until {event.subject} ends)",
        "processors": f"waiting: all processors of {place} are busy",
        "same": f"waiting: {event.subject} makes the same",
        "board": f"waiting: {event.subject}",
        "retry": f"trying {event.subject} again in a moment",
    }[event.why]
