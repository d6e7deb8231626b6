"""Questions to the person at the terminal."""

from __future__ import annotations

import sys

from orchestrator.errors import UserError


def yes(question: str) -> bool:
    """Whether the person agrees.

    Raises:
        UserError: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise UserError(f"{question} there is nobody to ask", "say --yes")
    return answer(f"{question} [yes/no] ").lower() in ("y", "yes")


def answer(question: str) -> str:
    """What is typed, empty where nothing is."""
    try:
        return input(question).strip()
    except EOFError:
        return ""
