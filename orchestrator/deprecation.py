"""Old names of public YAML keys and JSON fields: they work for one more version, with a warning.

`deprecate(old, new, remove_in=...)` stands beside what has the new name: in `Spec.renamed` for a
key of a YAML file, in the command for a field that it prints. A test fails once farm has reached
`remove_in`: then the line goes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class OldName(FutureWarning):
    """A name that will stop working was used, or is still printed."""


@dataclass(frozen=True)
class Renamed:
    """A name that was changed.

    Attributes:
        old, new: of the key or field.
        remove_in: the version of farm that no longer knows the old one, such as `0.3`.
    """

    old: str
    new: str
    remove_in: str

    def __str__(self) -> str:
        return f"{self.old!r} is called {self.new!r} now; farm {self.remove_in} will not know it"

    def warn(self, place: str, line: int = 1) -> None:
        """Warn once for each place: a file, or the command that prints it."""
        warnings.warn_explicit(str(self), OldName, place, line)


_RENAMED: list[Renamed] = []


def deprecate(old: str, new: str, *, remove_in: str) -> Renamed:
    """Declare that a public name was changed."""
    renamed = Renamed(old, new, remove_in)
    _RENAMED.append(renamed)
    return renamed


def declared() -> tuple[Renamed, ...]:
    """All that were declared in the modules that are loaded."""
    return tuple(_RENAMED)


def with_old_names(fields: Mapping[str, Any], *names: Renamed) -> dict[str, Any]:
    """Fields to print as JSON, under their new and their old names."""
    old = {each.old: fields[each.new] for each in names if each.new in fields}
    return {**fields, **old}
