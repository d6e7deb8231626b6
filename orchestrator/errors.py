"""Exceptions, split by who must act. Whatever is none of these is a bug of farm's own."""

from __future__ import annotations


class FarmError(Exception):
    """Root of farm's own exceptions.

    Args:
        message: what happened, where (file, line, board) and what was expected.
        hint: what to type or change next; empty when there is nothing to add.
        last_words: what the program that failed said last. They come before the hint.

    Attributes:
        deadline: the name of the deadline that passed, empty where none did.
    """

    def __init__(self, message: str, hint: str = "", *, last_words: str = "") -> None:
        lines = f"its last lines: {last_words}" if last_words else ""
        self.message = message
        self.hint = "; ".join(filter(None, (lines, hint)))
        self.last_words = last_words
        self.deadline = ""
        super().__init__(message, self.hint)

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UserError(FarmError):
    """The input must be fixed by its author; trying again changes nothing."""


class TransientError(FarmError):
    """The surroundings failed (link, deadline, busy board); trying again may help."""


class BoardError(FarmError):
    """The board is not fit for work; it needs attention before it is used again."""


class ToolchainError(FarmError):
    """A converter or quantizer failed on this model; another board would not help."""
