"""What an argument may be: files, runs, boards, rows, words, numbers; each with completion."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.parsing import offers

if TYPE_CHECKING:
    from pathlib import Path

    from click.shell_completion import CompletionItem

Offer = Callable[[click.Context], Iterable[str]]


def _items(words: Iterable[str], incomplete: str) -> list[CompletionItem[str]]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(word) for word in dict.fromkeys(words) if word.startswith(incomplete)]


class Located(click.ParamType[str]):
    """A text that may be a path: below a project's folder it is meant from where one stands.

    Args:
        kind: what the shell completes: `file`, `dir`, or empty for neither.
        offer: more words to complete with.
        always: whether it is a path whatever is there; else only where such a path is there.
        of_project: whether its default is in the project's folder.
    """

    name = "text"

    def __init__(
        self,
        kind: str = "",
        offer: Offer | None = None,
        *,
        always: bool = True,
        of_project: bool = False,
    ) -> None:
        self.kind = kind
        self.offer = offer
        self.always = always
        self.of_project = of_project

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As it is."""
        return str(value)

    def moved(self, value: str, here: Path) -> str:
        """The value for somebody who stands elsewhere than `here`."""
        if value.startswith("~"):
            return value
        path = here / value
        return str(path) if self.always or path.exists() else value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """The words on offer, then the shell's own files or folders."""
        from click.shell_completion import CompletionItem

        found = _items(self.offer(ctx), incomplete) if self.offer else []
        # A shell that is told to complete files does only that.
        return found or ([CompletionItem(incomplete, type=self.kind)] if self.kind else [])


class Offered(click.ParamType[str]):
    """A text that is completed with words of the project."""

    name = "text"

    def __init__(self, offer: Offer) -> None:
        self.offer = offer

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As it is."""
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """The words on offer."""
        return _items(self.offer(ctx), incomplete)


class Word(click.ParamType[str]):
    """One of a few words; another is answered with the nearest."""

    name = "word"

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word itself."""
        if value not in self.words:
            self.fail(f"there is no {value!r}{nearest(str(value), self.words)}", param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """The words."""
        return _items(self.words, incomplete)


class Words(click.ParamType[tuple[str, ...]]):
    """Several of a few words, with commas between them."""

    name = "words"

    def __init__(self, words: Sequence[str], what: str) -> None:
        self.words = tuple(words)
        self.what = what

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The words in their order."""
        if isinstance(value, tuple):
            return value
        found = tuple(word.strip() for word in str(value).split(","))
        for word in found:
            if word not in self.words:
                near = nearest(word, self.words)
                self.fail(f"there is no {self.what} {word!r}{near}", param, ctx)
        return found

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Each word, after those that are typed already."""
        typed = incomplete.rpartition(",")[0]
        before = f"{typed}," if typed else ""
        return _items((before + word for word in self.words), incomplete)


class Read(click.ParamType[Any]):
    """A value that a function reads from a text, with ValueError where it is none."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self.read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """What the text says."""
        if not isinstance(value, str):
            return value
        try:
            return self.read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def nearest(word: str, known: Sequence[str]) -> str:
    """`; did you mean 'x'?`, or all of the few words that there are."""
    import difflib

    near = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(known)}"


def counted(least: int) -> Read:
    """A whole number from `least` on."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise ValueError(f"expected a whole number from {least} on, not {text!r}")
        return int(text)

    return Read("count", read)


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    if not found or "0" in found.groups():
        raise ValueError(f"expected HEIGHTxWIDTH such as 112x112, not {text!r}")
    return int(found[1]), int(found[2])


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def byte_count(text: str) -> int:
    """Bytes of `500M`, `10GiB` or `1024`.

    Raises:
        ValueError: it is no size.
    """
    found = _BYTES.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"expected a size such as 500M or 20G, not {text!r}")
    return int(float(found[1]) * _UNITS[found[2].upper()])


BYTES = Read("size", byte_count)
SIZE = Read("size", _size)
"""Height and width of `112x112`."""
FILE = Located("file")
FOLDER = Located("dir")
RUN = Located("dir", offers.runs, always=False)
RUN_OR_PUBLISHED = Located("dir", lambda ctx: ["published", *offers.runs(ctx)], always=False)
ROW_OR_FILE = Located("file", offers.rows, always=False)
BOARD = Offered(offers.boards)
BOARD_OR_ALL = Offered(offers.boards_or_all)
ROW = Offered(offers.rows)
ROW_OR_BOARD = Offered(offers.rows_and_boards)
KIND = Offered(offers.kinds)
COUNT = counted(1)
COUNT_OR_0 = counted(0)
