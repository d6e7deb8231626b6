"""Messages of tools as plain text: without colour codes and what XML has no place for."""

from __future__ import annotations

import re

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# XML 1.0 cannot hold these, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def plain(text: str) -> str:
    """The text as it may stand in HTML and XML; escaping is still the caller's."""
    return _NOT_XML.sub("", _COLOURS.sub("", text))
