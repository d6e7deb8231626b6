"""`farm init`: the first files of a project, and how a model wants its pixels."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.errors import UserError

SHIPPED = "synthface-ir"
DEFAULT_KINDS = ("jetson-xavier-nx", "khadas-vim3", "imx8mp", "rv1126")
RENDERED_SIZE = (112, 112)
DESCRIPTION = """\
Write matrix.yaml and device_inventory.yaml and, with a model of your own, models/<name>.yaml: input
name, size and layout are read from the ONNX file, and colour order, mean and std are found by
embedding a few faces in every usual way. Files that are there already are not overwritten.

  farm init                                      three questions on a terminal
  farm init --model face.onnx                    compared on rendered faces
  farm init --model face.onnx --images faces/    compared on your own: <identity>/<image>
"""


def add_parser(commands: Any) -> None:
    """Add `farm init`."""
    made = commands.add_parser(
        "init",
        help="write the first files; find how a model wants its pixels",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.set_defaults(call=init)
    made.add_argument("folder", nargs="?", default=".", help="where to (this folder)")
    made.add_argument("--model", metavar="ONNX", help=f"your model ({SHIPPED}, farm's own)")
    made.add_argument("--name", help="the model's name (the file's)")
    made.add_argument(
        "--images",
        metavar="DIR",
        help="aligned faces: <identity>/<image>, or gallery/ and probe/ with such folders",
    )
    made.add_argument(
        "--skip-unreadable", action="store_true", help="leave out files that cannot be taken"
    )
    made.add_argument("--calibration", metavar="DIR", help="aligned faces of other people")
    made.add_argument("--boards", metavar="KIND,...", help=f"({','.join(DEFAULT_KINDS)})")
    made.add_argument("--size", metavar="HxW", type=_size, help="where the model leaves it open")
    made.add_argument("--output", metavar="NAME", help="the embedding, where there are several")
    made.add_argument(
        "--identities", type=int, default=40, metavar="N", help="faces compared (%(default)s)"
    )
    made.add_argument("--colour", choices=("RGB", "BGR"), help="known: do not compare")
    made.add_argument("--mean", type=float, nargs="+", help="known: 1 number, or 3")
    made.add_argument("--std", type=float, nargs="+", help="known: 1 number, or 3")
    made.add_argument("--force", action="store_true", help="overwrite what is there")
    made.add_argument("--yes", action="store_true", help="ask nothing")
    made.add_argument("--json", action="store_true", help="for programs; asks nothing")


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    if not found or "0" in found.groups():
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH such as 112x112, not {text!r}")
    return int(found[1]), int(found[2])


def init(arguments: argparse.Namespace) -> int:
    """Write the files; returns the exit code.

    Raises:
        UserError: something given is wrong, or a file is in the way; nothing is written then.
    """
    from orchestrator.specs.kinds import load_kinds
    from orchestrator.specs.skeleton import inventory_text, matrix_text

    _ask(arguments)
    folder = Path(arguments.folder)
    kinds = _kinds(arguments.boards, load_kinds())
    texts: dict[Path, str] = {}
    name = SHIPPED
    said: dict[str, Any] = {}
    size = RENDERED_SIZE
    if arguments.model:
        name = arguments.name or re.sub(r"[^A-Za-z0-9_-]+", "-", Path(arguments.model).stem)
        target = folder / "models" / f"{name}.yaml"
        if target.exists() and not arguments.force:
            raise UserError(
                f"{target} is there already", "--force overwrites it; --name gives another name"
            )
        texts[target], size, said = _manifest(arguments, name, target)
    faces = _test_folder(arguments.images, folder)
    if faces is None and size != RENDERED_SIZE:
        faces = "faces"
    calibration = _relative(arguments.calibration, folder) if arguments.calibration else None
    if calibration is None and size != RENDERED_SIZE:
        calibration = "calibration"
    texts[folder / "matrix.yaml"] = matrix_text(
        name, kinds, faces, calibration, skip_unreadable=arguments.skip_unreadable
    )
    texts[folder / "device_inventory.yaml"] = inventory_text(kinds)
    written, left = _write(texts, force=arguments.force)
    if arguments.json:
        files = {"written": [str(path) for path in written], "left": [str(p) for p in left]}
        print(json.dumps(files | said, indent=1))
        return 0
    for path in written:
        print(f"wrote {path}")
    for path in left:
        print(f"left {path} as it is (--force overwrites it)")
    print("next: farm plan" + (f" {folder / 'matrix.yaml'}" if str(folder) != "." else ""))
    return 0


def _ask(arguments: argparse.Namespace) -> None:
    """Three questions, of what was not said on the command line, where somebody can answer."""
    if arguments.yes or arguments.json or not sys.stdin.isatty():
        return
    if arguments.model is None:
        arguments.model = _answer(f"your model's ONNX file ({SHIPPED}, farm's own): ")
    if arguments.images is None:
        arguments.images = _answer("a folder of your own aligned faces (none: drawn faces): ")
    if arguments.boards is None:
        arguments.boards = _answer(f"kinds of boards ({','.join(DEFAULT_KINDS)}): ")


def _answer(question: str) -> str | None:
    try:
        return input(question).strip() or None
    except EOFError:
        return None


def _kinds(named: str | None, known: Any) -> list[Any]:
    words = [word.strip() for word in (named or ",".join(DEFAULT_KINDS)).split(",")]
    for word in words:
        if word not in known:
            near = difflib.get_close_matches(word, known, 1)
            raise UserError(
                f"--boards: there is no kind {word!r}",
                f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}",
            )
    return [known[word] for word in dict.fromkeys(words)]


def _manifest(
    arguments: argparse.Namespace, name: str, target: Path
) -> tuple[str, tuple[int, int], dict[str, Any]]:
    """The manifest's text, the model's size, and what `--json` says of the comparison."""
    from orchestrator.cli.init_model import take
    from orchestrator.specs.skeleton import manifest_text
    from orchestrator.stages.variants import SCALINGS, verdict_json

    path = Path(arguments.model)
    known = [arguments.colour, arguments.mean, arguments.std]
    if any(value is not None for value in known) and any(value is None for value in known):
        raise UserError("--colour, --mean and --std: all three or none", "none: they are compared")
    given = arguments.colour is not None and not arguments.images
    taken = take(
        path,
        arguments.size,
        arguments.output,
        lambda size: None if given else _faces(arguments, size),
    )
    said: dict[str, Any] = {"intake": taken.to_json()}
    for line in taken.lines():
        _tell(arguments, line)
    colour: str
    if all(value is not None for value in known):
        colour, mean, std = arguments.colour, _three(arguments.mean), _three(arguments.std)
        taken.check_given(mean, std)
        why = "Colour, mean and std as they were given."
    else:
        found = _compare(arguments, taken)
        if found is None:
            colour, (mean, std) = "RGB", taken.fed or SCALINGS["(x - 127.5) / 127.5"]
            what = "Colour is" if taken.fed else "Colour, mean and std are"
            why = f"{what} a guess: not compared, see `farm init --images`."
            _tell(arguments, f"{name}: {why}")
        else:
            best = found.best.variant
            colour, mean, std = best.colour, best.mean, best.std
            how = "faces of --images" if arguments.images else "rendered faces"
            doubt = "" if found.decided else " UNDECIDED: others do as well."
            what = "Colour was" if taken.fed else "Colour, mean and std were"
            why = (
                f"{what} found on {found.identities} identities, {found.probes} probes "
                f"({how}).{doubt}"
            )
            said |= {"comparison": verdict_json(found)}
            _show(arguments, found, how)
    if taken.fed:
        why += f" The graph normalizes pixels itself: {taken.inside}."
    normal = taken.normal
    text = manifest_text(
        name=name,
        file=os.path.relpath(path, target.parent),
        sha256=taken.original.sha256,
        input_name=normal.name,
        layout=normal.layout,
        size=normal.size,
        colour=colour,
        mean=mean,
        std=std,
        output=normal.output,
        embedding_size=taken.embedding_size,
        why=why,
    )
    return text, normal.size, said


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) not in (1, 3):
        raise UserError(f"--mean, --std: one number or three, not {len(values)}")
    three = list(values) * (3 if len(values) == 1 else 1)
    return three[0], three[1], three[2]


def _faces(arguments: argparse.Namespace, size: tuple[int, int]) -> Any:
    """Faces of this size and whose they are, or None where there are none."""
    if arguments.identities < 2:
        raise UserError(f"--identities {arguments.identities}: at least 2 are compared")
    if arguments.images:
        return _own_faces(arguments, size)
    return _drawn_faces(arguments.identities) if size == RENDERED_SIZE else None


def _compare(arguments: argparse.Namespace, taken: Any) -> Any:
    """The verdict over all variants, or None where there are no faces of this size."""
    from orchestrator.stages.variants import compare_variants, embedder, inside_variants

    if taken.faces is None:
        return None
    images, ids = taken.faces
    progress = None
    if sys.stderr.isatty() and not arguments.json:

        def progress(done: int, total: int) -> None:
            end = "\n" if done == total else ""
            print(f"\r  {done} of {total} images embedded", end=end, file=sys.stderr, flush=True)

    among = inside_variants(*taken.fed) if taken.fed else None
    return compare_variants(embedder(taken.normal.data), images, ids, "NCHW", progress, among)


def _drawn_faces(identities: int) -> tuple[Any, list[str]]:
    from orchestrator.images import gallery_rows, probe_rows
    from orchestrator.specs import RenderedSet

    drawn = RenderedSet(identities=identities, difficulty=1.0)
    sides = [gallery_rows(drawn), probe_rows(drawn)]
    import numpy as np

    images = np.concatenate([side.images(0, len(side)) for side in sides])
    return images, [who for side in sides for who in side.identities]


def _own_faces(arguments: argparse.Namespace, size: tuple[int, int]) -> tuple[Any, list[str]]:
    """Up to four images of each of so many identities that have two or more."""
    from orchestrator.images.checking import Checker
    from orchestrator.images.files import FileRows, ImageFile
    from orchestrator.images.fileset import read_people, read_set
    from orchestrator.images.refusing import refuse
    from orchestrator.specs import FolderSet

    folder, skip = Path(arguments.images), arguments.skip_unreadable
    if all((folder / role).is_dir() for role in ("gallery", "probe")):
        spec = FolderSet(source="folder", path=folder, skip_unreadable=skip)
        made = read_set(spec, Checker())
    else:
        made = read_people(folder, Checker(), skip_unreadable=skip)
    refuse([made], [size])
    for note in made.notes:
        _tell(arguments, note)
    found: dict[str, list[ImageFile]] = {}
    for file in made.files:
        found.setdefault(file.identity, []).append(file)
    several = [files[:4] for files in found.values() if len(files) > 1][: arguments.identities]
    if len(several) < 2:
        raise UserError(
            f"{folder}: {len(several)} identities with two or more images; at least 2 are needed",
            "a folder holds <identity>/<image>, or gallery/ and probe/ with such folders",
        )
    rows = FileRows([file for files in several for file in files], size)
    return rows.images(), list(rows.identities)


def _test_folder(images: str | None, folder: Path) -> str | None:
    if images and all((Path(images) / role).is_dir() for role in ("gallery", "probe")):
        return _relative(images, folder)
    return None


def _relative(path: str, folder: Path) -> str:
    return os.path.relpath(path, folder)


def _tell(arguments: argparse.Namespace, text: str) -> None:
    if not arguments.json:
        print(text)


def _show(arguments: argparse.Namespace, found: Any, how: str) -> None:
    if arguments.json:
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("Preprocessing", "Rank1", "Separation", "Behind", ""):
        table.add_column(column, justify="left" if column in ("Preprocessing", "") else "right")
    for one in found.ranking:
        behind = f"{one.behind:.2f} [{one.low:.2f}, {one.high:.2f}]"
        mark = "taken" if one is found.best else "as good" if one.as_good else ""
        table.add_row(
            one.variant.name,
            f"{100 * one.rank1:.1f}",
            f"{one.separation:.2f}",
            "" if one is found.best else behind,
            mark,
        )
    console = Console(highlight=False)
    console.print(table)
    print(
        f"{found.identities} identities, {found.probes} probes, {how}. Separation: own score above "
        "strangers', in their standard deviations; Behind: below the best, with interval."
    )
    if not found.decided:
        print("UNDECIDED: variants marked `as good` do not differ significantly from the one taken")
        print("here. Give more faces (--identities, --images), or ask whoever trained the model.")
    elif any(one.as_good for one in found.ranking[1:]):
        print("What is `as good` differs by under 1 % in scale, which hardly moves a model.")
    if not arguments.images:
        print("Rendered faces may mislead about a model trained on photographs: --images DIR.")


def _write(texts: dict[Path, str], *, force: bool) -> tuple[list[Path], list[Path]]:
    written, left = [], []
    for path, text in texts.items():
        if path.exists() and not force:
            left.append(path)
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from error
        written.append(path)
    return written, left
