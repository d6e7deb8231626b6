"""What a step and a board of a run can be, and every legal transition. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Generic, TypeVar

STORY_LENGTH = 12


class _State(Enum):
    __hash__ = object.__hash__  # that of Enum is a call of Python's, and each move asks for it


class StepState(_State):
    """What a step is. `failed` and `skipped` are final."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


class BoardState(_State):
    """What a board is to a run. `broken`: out of the run, unless it is recovered."""

    AWAY = "away"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECOVERING = "recovering"
    BROKEN = "broken"


LEGAL: Mapping[Enum, frozenset[Enum]] = {
    StepState.WAITING: frozenset(
        # done: the store holds it, or nothing needs it any more
        {StepState.RUNNING, StepState.DONE, StepState.FAILED, StepState.SKIPPED}
    ),
    StepState.RUNNING: frozenset({StepState.WAITING, StepState.DONE, StepState.FAILED}),
    # waiting: the store lost its output, or the board its files
    StepState.DONE: frozenset({StepState.WAITING}),
    StepState.FAILED: frozenset(),
    StepState.SKIPPED: frozenset(),
    BoardState.AWAY: frozenset(
        {BoardState.AWAY, BoardState.CONNECTING, BoardState.RECOVERING, BoardState.BROKEN}
    ),
    BoardState.CONNECTING: frozenset(
        {BoardState.CONNECTED, BoardState.AWAY, BoardState.RECOVERING, BoardState.BROKEN}
    ),
    BoardState.CONNECTED: frozenset({BoardState.AWAY, BoardState.RECOVERING, BoardState.BROKEN}),
    BoardState.RECOVERING: frozenset({BoardState.AWAY, BoardState.RECOVERING, BoardState.BROKEN}),
    BoardState.BROKEN: frozenset({BoardState.BROKEN, BoardState.RECOVERING}),
}
UNFINISHED = frozenset({StepState.WAITING, StepState.RUNNING})
UNSUCCESSFUL = frozenset({StepState.FAILED, StepState.SKIPPED})

S = TypeVar("S", bound=Enum)


class InvalidTransition(Exception):
    """An internal error: a transition that `LEGAL` does not have. The message tells the story."""


class States(Generic[S]):
    """The states of many steps, or of many boards, and the latest transitions of each.

    Args:
        noun: what they are, for messages.
        first: the state of those that nothing happened to yet.
    """

    def __init__(self, noun: str, first: S) -> None:
        self._noun, self._first = noun, first
        self._states: dict[str, S] = {}
        self._stories: dict[str, list[S | str]] = {}  # states, each with its reason behind it

    def __getitem__(self, name: str) -> S:
        return self._states.get(name, self._first)

    def named(self, state: S) -> list[str]:
        """Names of those in a state (other than the first), in the order of their first change."""
        return [name for name, found in self._states.items() if found is state]

    def move(self, name: str, to: S, why: str = "") -> S:
        """Change a state; returns the one before.

        Raises:
            InvalidTransition: `LEGAL` does not have this transition.
        """
        before = self._states.get(name, self._first)
        if to not in LEGAL[before]:
            legal = ", ".join(sorted(each.value for each in LEGAL[before])) or "nothing: final"
            raise InvalidTransition(
                f"{self._noun} {name}: {before.value} -> {to.value}{f' ({why})' if why else ''} is "
                f"not legal (legal: {legal}); its story: {self.story(name)}"
            )
        self._states[name] = to
        story = self._stories.get(name)
        if story is None:
            self._stories[name] = [to, why]
        else:
            story += to, why
            if len(story) > 2 * STORY_LENGTH:
                del story[:2]
        return before

    def story(self, name: str) -> str:
        """The latest transitions, the oldest first, each with its reason."""
        transitions: Any = self._stories.get(name, [])
        states = [
            f"{state.value} ({why})" if why else state.value
            for state, why in zip(transitions[::2], transitions[1::2], strict=True)
        ]
        first = [self._first.value] if len(states) < STORY_LENGTH else ["..."]
        return " -> ".join([*first, *states])
