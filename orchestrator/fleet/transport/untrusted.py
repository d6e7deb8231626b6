"""What a board says is hostile input: made printable and bounded before anyone sees it."""

from __future__ import annotations

import re
import unicodedata

_SEQUENCES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # operating-system commands: titles, links, clipboard
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # device control and private strings
    r"|[\x1b\x9b]\[?[0-?]*[ -/]*[@-~]"  # cursor, colour and the two-character escapes
)


def printable(text: bytes | str, limit: int = 8192) -> str:
    """The last `limit` characters of `text` without anything that a terminal would act upon.

    Line ends and tabs stay; escape sequences, control characters and the invisible characters that
    reorder text are dropped.
    """
    if isinstance(text, bytes):
        text = text[-4 * limit - 64 :].decode("utf-8", "replace")
    text = _SEQUENCES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    clean = "".join(c for c in text if c in "\n\t" or unicodedata.category(c)[0] != "C")
    return clean[-limit:].strip()


def one_line(text: bytes | str, limit: int = 300) -> str:
    """The end of `text` as a single line for an error message."""
    return " ".join(printable(text, limit * 4).split())[-limit:]


def quote(text: bytes | str, limit: int = 80, total: int = 0) -> str:
    """The beginning of what a board said in place of an answer: one line, quoted, the rest counted.

    Args:
        text: what it said, or the beginning of that.
        limit: how many characters of it are shown.
        total: bytes that it said in all, where `text` is not all.
    """
    raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
    if not raw.strip():
        return "nothing"
    shown = " ".join(printable(raw[: 64 * limit]).split())
    # The beginning, where `printable` keeps the end: of garbage, the first words tell most.
    size = max(len(raw), total)
    if not shown:
        return f"{size} bytes, none of them printable"
    if len(shown) <= limit and size <= 64 * limit and total <= len(raw):
        return f"'{shown}'"
    return f"'{shown[:limit]}…' ({size} bytes in all)"


def headline(command: str, limit: int = 80) -> str:
    """The beginning of a command, for a message about it."""
    words = " ".join(printable(command).split())
    return words if len(words) <= limit else words[: limit - 1] + "…"
