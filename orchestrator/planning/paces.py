"""How long work takes: a fixed time and a time per unit, fitted for each kind of work. Pure.

What was seen on one board, with one model, refines what was seen of its kind, and that refines a
guess; so one observation of anything already says how fast this computer is. All seconds are those
of a step that has its processors for itself (`sharing.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.planning.work import BESIDE_STEPS, Work

GUESSES: Mapping[str, tuple[float, float]] = {
    "begin": (1.5, 0.0),
    "ray": (5.0, 0.0),
    "connect": (1.5, 0.0),
    **{name: facts.seconds for name, facts in STAGE_FACTS.items()},
}
"""Seconds a step, and seconds a unit of it, on a small computer; replaced by what is seen."""

GUESS_SPREAD = 0.6
LEAST_SPREAD = 0.08
NOISE = 0.2
"""Of single observations, relative."""
LEAST_SHARE = 0.05
FORGETS = 0.75
"""What an observation counts less with each newer one of its kind."""
OF_THIS_RUN = 3.0
"""How much more an observation of the run under way counts."""
RATE_BOUND = 1.5


@dataclass(frozen=True)
class Observation:
    """A step that was done.

    Attributes:
        units: of the step, images or inferences.
        seconds: what it would have taken alone.
        least: seconds that it had to take at the least, as a measurement.
        weight: how much it counts, over 0.
    """

    work: Work
    units: int
    seconds: float
    least: float = 0.0
    weight: float = 1.0

    @property
    def kind(self) -> tuple[Work, int]:
        """The work and about how much of it, in doublings: only a newer observation of both takes
        the place of an older one. Many small steps must not push out the few long ones, which
        alone say what a unit takes."""
        return self.work, round(math.log2(max(1, self.units)))


class Line(NamedTuple):
    """`fixed + rate * units` seconds; `spread` is the standard deviation of its logarithm."""

    fixed: float
    rate: float
    spread: float

    def seconds(self, units: int, least: float = 0.0) -> float:
        """Of a step of so many units that takes `least` at the least, beside what is fixed."""
        return self.fixed + max(least, self.rate * units)

    def scaled(self, fixed: float, rate: float) -> Line:
        """Both times as long."""
        return Line(self.fixed * fixed, self.rate * rate, self.spread)


class _Point(NamedTuple):
    """An observation as the fit takes it: of 0 units where only what is fixed shows."""

    units: int
    seconds: float
    weight: float


def fit(before: Line, seen: Sequence[Observation]) -> Line:
    """A line through observations, from what was believed before; with none it stays as it was.

    Least squares of relative errors. First both times are scaled alike, which one observation is
    enough for; then each moves by itself as far as the observations part them. Neither becomes
    negative, nor less than a twentieth of what scaling alone makes it.
    """
    points = [_point(before, each) for each in seen]
    if not points:
        return before
    timed = [point for point in points if point.units]
    scale = _scale(before, timed)
    base = before.scaled(_scale(before, points) if not timed else scale, scale)
    for _ in range(2):  # the second time with the weights of the first one's line
        base = _parted(base, points)
    errors = [(p.weight, math.log(p.seconds / max(base.seconds(p.units), 1e-9))) for p in points]
    squares = sum(weight * error * error for weight, error in errors)
    count = sum(weight for weight, _ in errors)
    spread = math.sqrt((before.spread**2 + squares) / (1 + 2 * count))
    return base._replace(spread=max(LEAST_SPREAD, spread))


def _point(line: Line, seen: Observation) -> _Point:
    seconds = max(seen.seconds, 1e-3)
    if seen.least and seconds < RATE_BOUND * seen.least + line.fixed:
        return _Point(0, max(seconds - seen.least, LEAST_SHARE * seconds), seen.weight)
    return _Point(seen.units, seconds, seen.weight)


def _scale(line: Line, points: Sequence[_Point]) -> float:
    """By how much all took longer: the median, which one wild observation cannot move."""
    return _median([(p.seconds / max(line.seconds(p.units), 1e-9), p.weight) for p in points])


def _median(ratios: Sequence[tuple[float, float]]) -> float:
    """Of (ratio, weight); 1 of none. Between two that weigh alike it is their geometric mean."""
    ordered = sorted(ratios)
    half, passed = sum(weight for _, weight in ordered) / 2, 0.0
    for number, (ratio, weight) in enumerate(ordered):
        passed += weight
        if passed > half or number == len(ordered) - 1:
            return ratio
        if passed == half:
            return math.sqrt(ratio * ordered[number + 1][0])
    return 1.0


def _parted(line: Line, points: Sequence[_Point]) -> Line:
    """The factors of `fixed` and `rate` with the least squares, drawn towards 1."""
    aa = bb = 1.0
    ab = 0.0
    ya = yb = 1.0
    for units, seconds, weight in points:
        size = math.sqrt(seconds * max(line.seconds(units), 1e-9)) * NOISE
        a, b, y = line.fixed / size, line.rate * units / size, seconds / size
        strange = abs(y - a - b) * NOISE
        weight = weight / max(1.0, strange / 0.5)
        aa, ab, bb = aa + weight * a * a, ab + weight * a * b, bb + weight * b * b
        ya, yb = ya + weight * a * y, yb + weight * b * y
    determinant = aa * bb - ab * ab
    fixed, rate = (ya * bb - yb * ab) / determinant, (yb * aa - ya * ab) / determinant
    if fixed < LEAST_SHARE:
        fixed, rate = LEAST_SHARE, (yb - ab * LEAST_SHARE) / bb
    if rate < LEAST_SHARE:
        fixed, rate = max(LEAST_SHARE, (ya - ab * LEAST_SHARE) / aa), LEAST_SHARE
    return line.scaled(fixed, rate)


class Paces:
    """Lines of every kind of work, from observations.

    Args:
        earlier: of earlier runs, the oldest first.
        now: of the run under way, the oldest first; they count more.
    """

    def __init__(
        self, earlier: Iterable[Observation] = (), now: Iterable[Observation] = ()
    ) -> None:
        before = list(earlier)
        mine = [replace(each, weight=each.weight * OF_THIS_RUN) for each in now]
        self._seen = _by_level([*_faded(before), *mine])
        self._known = {each.work for each in mine}
        self._lines: dict[Work, Line] = {}
        self._host = _host_scale(self._seen)
        self._this_run = 1.0
        self._before: Paces | None = None
        if mine:
            self._before = Paces(before)
            self._this_run = _common_scale(self._before, mine)

    def line(self, work: Work) -> Line:
        """How long that work takes."""
        if work not in self._lines:
            line = Line(*GUESSES[work.stage], GUESS_SPREAD).scaled(self._host, self._host)
            known = 0
            for level in work.levels():
                seen = self._seen.get(level, ())
                if len(seen) != known:  # else the level above has taken in just these
                    line = fit(line, seen)
                known = len(seen)
            # What this run was slower in so far than earlier ones, it is in what they did too.
            if self._before is not None and work not in self._known and self._before.seen(work):
                line = line.scaled(self._this_run, self._this_run)
            self._lines[work] = line
        return self._lines[work]

    def seen(self, work: Work) -> bool:
        """Whether the stage was ever done in that place."""
        return Work(work.stage, work.place) in self._seen

    def done(self, like: Observation) -> bool:
        """Whether just that was done before, and about as much of it."""
        sizes = [each.units for each in self._seen.get(like.work, ())]
        return any(size <= 2 * like.units and like.units <= 2 * size for size in sizes)


def _faded(observations: Sequence[Observation]) -> list[Observation]:
    """The newer of the same kind count more."""
    found: list[Observation] = []
    newer: dict[tuple[Work, int], int] = {}
    for each in reversed(observations):
        age = newer[each.kind] = newer.get(each.kind, -1) + 1
        found.append(replace(each, weight=each.weight * FORGETS**age))
    return found[::-1]


def _by_level(observations: Iterable[Observation]) -> dict[Work, list[Observation]]:
    found: dict[Work, list[Observation]] = {}
    for each in observations:
        for level in each.work.levels():
            found.setdefault(level, []).append(each)
    return found


def _host_scale(seen: Mapping[Work, Sequence[Observation]]) -> float:
    """How much slower than guessed this computer is, over all stages that it was seen in."""
    ratios = []
    for work, observations in seen.items():
        if work == Work(work.stage, "head") and work.stage not in BESIDE_STEPS:
            guess = Line(*GUESSES[work.stage], GUESS_SPREAD)
            points = [_point(guess, each) for each in observations]
            ratios.append(math.log(_scale(guess, points)))
    return math.exp(sum(ratios) / (len(ratios) + 1))


def _common_scale(before: Paces, now: Sequence[Observation]) -> float:
    """By how much this run was slower than earlier ones would have it, drawn towards 1.

    Only work that was done before, about as much of it, says that: elsewhere a difference is the
    line's own error, which other work does not share.
    """
    ratios = []
    for each in now:
        if each.work.stage in BESIDE_STEPS or not before.done(each):
            continue
        expected = before.line(each.work).seconds(each.units, each.least)
        weight = min(1.0, each.seconds / 5.0)
        ratios.append((max(each.seconds, 1e-3) / max(expected, 1e-3), weight))
    count = sum(weight for _, weight in ratios)
    return float(_median(ratios) ** (count / (count + 2.0)))
