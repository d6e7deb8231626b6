"""What is wrong with sets of images, told all at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from orchestrator.errors import UserError
from orchestrator.images.fileset import SetFiles

SHOWN = 20
LISTING = "refused-images.txt"


def refuse(
    sets: Iterable[SetFiles],
    sizes: Iterable[tuple[int, int] | None] = (),
    state: Path | None = None,
) -> None:
    """Raise where something in the sets is not taken.

    Args:
        sets: what was read.
        sizes: (height, width) that each model wants; None is that of the first image.
        state: farm's state folder: where the whole list goes when it is long; without it all is
            shown.

    Raises:
        UserError: everything that is refused, a line each.
    """
    blocks: list[tuple[str, list[str]]] = []
    hints: list[str] = []
    sets = list(sets)
    for files in sets:
        if files.never:
            what = _plural(len(files.never), "this", "all of this")
            blocks.append((f"{files.shown}: {what} must be fixed", files.never))
    for files in sets:
        if files.unreadable:
            count = len(files.unreadable)
            blocks.append(
                (
                    f"{files.shown}: {count} "
                    f"{_plural(count, 'file or folder', 'files or folders')} cannot be taken",
                    files.unreadable,
                )
            )
            hints = [
                "Fix or remove them. Beside the set's folder: or list:, "
                "skip_unreadable: true leaves them out and says so in every table."
            ]
    for size in dict.fromkeys(sizes):
        for files in sets:
            other = files.of_other_size(size)
            if other:
                height, width = size or files.sizes[0]
                many = f"{len(other)} images are" if len(other) > 1 else "1 image is"
                head = (
                    f"{files.shown}: {many} of another size; {height} x {width} are expected "
                    "(high x wide)"
                )
                blocks.append((head, other))
                hints.append(
                    "Give aligned faces of the size that the model's manifest names; "
                    "farm does not resize, because that changes the figures."
                )
    if not blocks:
        return
    listing = None
    if state is not None and any(len(lines) > SHOWN for _, lines in blocks):
        listing = _write(blocks, state)
    text = []
    for head, lines in blocks:
        shown = lines[:SHOWN] if listing else lines
        text += [head, *(f"  {line}" for line in shown)]
        if len(shown) < len(lines):
            text.append(f"  and {len(lines) - len(shown)} more; all of them: {listing}")
    raise UserError("\n".join(text), "\n  ".join(dict.fromkeys(hints)))


def _write(blocks: list[tuple[str, list[str]]], state: Path) -> Path | None:
    file = state / LISTING
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.write_text("".join(f"{line}\n" for _, lines in blocks for line in lines))
    except (OSError, UnicodeEncodeError):
        return None  # then all is shown
    return file


def _plural(count: int, one: str, many: str) -> str:
    return one if count == 1 else many
