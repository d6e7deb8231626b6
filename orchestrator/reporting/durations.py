"""Durations and ranges of them as people say them: "about 40 s", "1–3 min", "3 h 10 min"."""

from __future__ import annotations

import re

_STEPS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 35, 40, 45, 50, 55)
CLOSE = 1.25
"""Ends of a range that are nearer than this say one time."""


def duration(seconds: float) -> str:
    """Seconds in words, as exact as somebody wants to know: 45 s, 3 min, 3 h 10 min, 2 days 4 h."""
    whole = max(0, round(seconds))
    if whole < 90:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / 3600), 24)
    unit = "day" if days == 1 else "days"
    return f"{days} {unit} {hours} h" if hours else f"{days} {unit}"


def between(low: float, high: float) -> str:
    """A range in words: one time where its ends are close, both in one unit where they have one."""
    if high <= low * CLOSE or _rounded(low) == _rounded(high):
        return f"about {duration(_rounded((low + high) / 2))}"
    first, last = duration(_rounded(low)), duration(_rounded(high))
    if first == last:
        return f"about {first}"
    (number, unit), end = _parts(first), _parts(last)
    if unit == "s" and end[1] == "min" and low >= 45:
        number, unit = "1", "min"
    if unit and unit == end[1]:
        return f"{number}–{last}"
    return f"{first} – {last}"


def _parts(words: str) -> tuple[str, str]:
    """Number and unit of a duration of one unit; of any other no unit."""
    number, _, unit = words.partition(" ")
    return (number, unit) if " " not in unit else (words, "")


def _rounded(seconds: float) -> float:
    """To a figure that does not claim more than an estimate knows."""
    if seconds < 10:
        return max(1.0, round(seconds))
    if 57.5 <= seconds < 85:  # "about 60 s" would be a fifth off
        return 10.0 * round(seconds / 10)
    for size in (1, 60):
        if seconds < 57.5 * size:
            return float(size * min(_STEPS, key=lambda step: abs(step - seconds / size)))
    quarter = 600 if seconds < 6 * 3600 else 3600
    return float(quarter * round(seconds / quarter))


_UNITS = {"min": 60.0, "h": 3600.0, "d": 86400.0}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(min|h|d)")
LONGEST_D = 31


def length(text: str) -> float:
    """Seconds of `30min`, `2h` or `1.5d`.

    Raises:
        ValueError: it is no length of time, or longer than a month.
    """
    found = _LENGTH.fullmatch(text.strip())
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < seconds <= LONGEST_D * 86400:
        expected = f"30min, 2h or 1d, up to {LONGEST_D}d"
        raise ValueError(f"expected a time such as {expected}, not {text!r}")
    return seconds
