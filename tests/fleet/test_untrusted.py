"""Nothing that a board says can act upon the terminal, whatever it says."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.fleet.transport.untrusted import one_line, printable, quote


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07after", "after"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1bPq#0;2;0;0;0\x1b\\sixel", "sixel"),
        (b"\x1bcreset", "reset"),
        (b"a\rb\r\nc", "a\nb\nc"),
        (b"bell\x07 back\x08space", "bell backspace"),
        ("c1 \x9b31m red".encode(), "c1  red"),
        ("left\u202eright \u2066x", "leftright x"),
        (b"\xff\xfe broken", "\ufffd\ufffd broken"),
        ("Temperatur 45 °C – grün", "Temperatur 45 °C – grün"),
    ],
)
def test_escape_sequences_are_dropped(said: bytes | str, shown: str) -> None:
    assert printable(said) == shown


@given(st.one_of(st.binary(max_size=2000), st.text(max_size=2000)), st.integers(1, 300))
def test_only_printable_and_bounded(said: bytes | str, limit: int) -> None:
    shown = printable(said, limit)
    assert len(shown) <= limit
    assert not [c for c in shown if unicodedata.category(c)[0] == "C" and c not in "\n\t"]
    assert "\n" not in one_line(said, limit)
    assert len(one_line(said, limit)) <= limit


def test_the_end_is_kept() -> None:
    assert printable(b"x" * 100_000 + b"the reason", 10) == "the reason"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"", "nothing"),
        (b" \r\n", "nothing"),
        (b"Welcome\n to \x1b[31mred", "'Welcome to red'"),
        (b"\x00\x01\x02", "3 bytes, none of them printable"),
        (b"x" * 90, "'" + "x" * 80 + "…' (90 bytes in all)"),
        ("ä" * 90, "'" + "ä" * 80 + "…' (180 bytes in all)"),
    ],
)
def test_garbage_is_quoted_in_eighty_characters(said: bytes | str, shown: str) -> None:
    assert quote(said) == shown


@given(st.one_of(st.binary(max_size=9000), st.text(max_size=2000)))
def test_a_quotation_is_short_and_printable(said: bytes | str) -> None:
    shown = quote(said)
    assert len(shown) < 120
    assert shown.isprintable()
