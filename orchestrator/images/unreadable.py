"""The one reason for which a file is not taken."""

from __future__ import annotations


class Unreadable(Exception):
    """A file that is not taken; its text says why, without the file's name."""
