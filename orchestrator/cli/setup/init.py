"""`farm init`: the first files of a project, and how a model wants its pixels."""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli.setup.init_faces import LIST, OwnFaces
from orchestrator.cli.setup.to_init import ToInit
from orchestrator.errors import UserError

if TYPE_CHECKING:
    from orchestrator.cli.setup.init_detector import FoundDetector
    from orchestrator.cli.setup.init_model import Taken
    from orchestrator.stages.variants import Triple

SHIPPED = "synthface-ir"
DEFAULT_KINDS = ("jetson-xavier-nx", "khadas-vim3", "imx8mp", "rv1126")
RENDERED_SIZE = (112, 112)


def init(given: ToInit) -> int:
    """Write the files; returns the exit code.

    Raises:
        UserError: something given is wrong, or a file is in the way; nothing is written then.
    """
    from orchestrator.cli.setup.init_detector import find_detector
    from orchestrator.specs.kinds import load_kinds
    from orchestrator.specs.skeleton import inventory_text, matrix_text

    arguments = _asked(given)
    folder = Path(arguments.folder)
    kinds = _kinds(arguments.boards, load_kinds())
    texts: dict[Path, str | bytes] = {}
    name = SHIPPED
    said: dict[str, Any] = {}
    size = RENDERED_SIZE
    images = arguments.images
    own = OwnFaces(Path(images), arguments.skip_unreadable) if images else None
    if arguments.model:
        name = arguments.name or re.sub(r"[^A-Za-z0-9_-]+", "-", Path(arguments.model).stem)
        target = folder / "models" / f"{name}.yaml"
        if target.exists() and not arguments.force:
            raise UserError(
                f"{target} is there already", "--force overwrites it; --name gives another name"
            )
        detector = find_detector(arguments, target)
        if detector is not None:
            return _detector(arguments, name, target, detector, kinds)
        texts[target], size, said = _manifest(arguments, name, target, own)
    test_set = _test_set(arguments, own, size, texts)
    calibration = _relative(arguments.calibration, folder) if arguments.calibration else None
    if calibration is None and size != RENDERED_SIZE:
        calibration = "calibration"
    if own is not None and calibration is None:
        _say(arguments, "calibration: rendered faces; --calibration DIR takes faces like yours")
    texts[folder / "matrix.yaml"] = matrix_text(
        name, kinds, calibration, skip_unreadable=arguments.skip_unreadable, **test_set
    )
    texts[folder / "device_inventory.yaml"] = inventory_text(kinds)
    return _finish(arguments, texts, said)


def _detector(
    arguments: ToInit, name: str, target: Path, found: FoundDetector, kinds: list[Any]
) -> int:
    from orchestrator.specs.skeleton import detector_matrix_text, inventory_text

    for line in found.lines():
        _say(arguments, line)
    folder = Path(arguments.folder)
    texts: dict[Path, str | bytes] = {
        target: found.manifest(name, target),
        folder / "matrix.yaml": detector_matrix_text(name, kinds, found.size),
        folder / "device_inventory.yaml": inventory_text(kinds),
    }
    if found.copy is not None:
        texts[target.with_suffix(".onnx")] = found.copy
    return _finish(arguments, texts, {"detector": found.to_json()})


def _finish(arguments: ToInit, texts: Mapping[Path, str | bytes], said: Mapping[str, Any]) -> int:
    """Write the files and say which."""
    folder = Path(arguments.folder)
    written, left = _write(texts, force=arguments.force)
    if arguments.as_json:
        files = {"written": [str(path) for path in written], "left": [str(p) for p in left]}
        print(json.dumps({**files, **said}, indent=1))
        return 0
    for path in written:
        print(f"wrote {path}")
    for path in left:
        print(f"left {path} as it is (--force overwrites it)")
    print("next: farm plan" + (f" {folder / 'matrix.yaml'}" if str(folder) != "." else ""))
    return 0


def _asked(given: ToInit) -> ToInit:
    """Three questions, of what was not said on the command line, where somebody can answer."""
    if not given.asks or given.as_json or not sys.stdin.isatty():
        return given
    model, images, boards = given.model, given.images, given.boards
    if model is None:
        model = _answer(f"your model's ONNX file ({SHIPPED}, farm's own): ")
    if images is None:
        images = _answer("a folder of your own aligned faces (none: drawn faces): ")
    if boards is None:
        boards = _answer(f"kinds of boards ({','.join(DEFAULT_KINDS)}): ")
    return replace(given, model=model, images=images, boards=boards)


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
    arguments: ToInit, name: str, target: Path, own: OwnFaces | None
) -> tuple[str, tuple[int, int], dict[str, Any]]:
    """The manifest's text, the model's size, and what `--json` says of the comparison."""
    from orchestrator.cli.setup.init_model import take
    from orchestrator.specs.skeleton import manifest_text

    path = Path(str(arguments.model))
    known = [arguments.colour, arguments.mean, arguments.std]
    if any(known) and not all(known):
        raise UserError("--colour, --mean and --std: all three or none", "none: they are compared")
    given = arguments.colour is not None and not arguments.images
    taken = take(
        path,
        arguments.size,
        arguments.output,
        lambda size: None if given else _faces(arguments, own, size),
    )
    for line in taken.lines():
        _say(arguments, line)
    pixels = _pixels(arguments, name, taken)
    why = pixels.why
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
        colour=pixels.colour,
        mean=pixels.mean,
        std=pixels.std,
        output=normal.output,
        embedding_size=taken.embedding_size,
        why=why,
    )
    said: dict[str, Any] = {"intake": taken.to_json()}
    if pixels.comparison is not None:
        said["comparison"] = pixels.comparison
    return text, normal.size, said


@dataclass(frozen=True)
class _Pixels:
    """How a model wants its pixels, why that is believed, and the comparison if there was one."""

    colour: str
    mean: Triple
    std: Triple
    why: str
    comparison: dict[str, Any] | None = None


def _pixels(arguments: ToInit, name: str, taken: Taken) -> _Pixels:
    """As given, else as compared on faces, else a guess."""
    from orchestrator.stages.variants import SCALINGS, verdict_json

    if arguments.colour and arguments.mean and arguments.std:
        mean, std = _three(arguments.mean), _three(arguments.std)
        taken.check_given(mean, std)
        return _Pixels(arguments.colour, mean, std, "Colour, mean and std as they were given.")
    found = _compare(arguments, taken)
    if found is None:
        mean, std = taken.fed or SCALINGS["(x - 127.5) / 127.5"]
        what = "Colour is" if taken.fed else "Colour, mean and std are"
        why = f"{what} a guess: not compared, see `farm init --images`."
        _say(arguments, f"{name}: {why}")
        return _Pixels("RGB", mean, std, why)
    how = "faces of --images" if arguments.images else "rendered faces"
    doubt = "" if found.decided else " UNDECIDED: others do as well."
    what = "Colour was" if taken.fed else "Colour, mean and std were"
    why = f"{what} found on {found.identities} identities, {found.probes} probes ({how}).{doubt}"
    _show(arguments, found, how)
    best = found.best.variant
    return _Pixels(best.colour, best.mean, best.std, why, verdict_json(found))


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) not in (1, 3):
        raise UserError(f"--mean, --std: one number or three, not {len(values)}")
    three = list(values) * (3 if len(values) == 1 else 1)
    return three[0], three[1], three[2]


def _faces(arguments: ToInit, own: OwnFaces | None, size: tuple[int, int]) -> Any:
    """Faces of this size and whose they are, or None where there are none."""
    if arguments.identities < 2:
        raise UserError(f"--identities {arguments.identities}: at least 2 are compared")
    if own is not None:
        return _own_faces(own, arguments.identities, size)
    return _drawn_faces(arguments.identities) if size == RENDERED_SIZE else None


def _compare(arguments: ToInit, taken: Taken) -> Any:
    """The verdict over all variants, or None where there are no faces of this size."""
    from orchestrator.stages.variants import compare_variants, embedder, inside_variants

    if taken.faces is None:
        return None
    images, ids = taken.faces
    progress = None
    if sys.stderr.isatty() and not arguments.as_json:

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


def _own_faces(own: OwnFaces, identities: int, size: tuple[int, int]) -> tuple[Any, list[str]]:
    """Up to four images of each of so many identities that have two or more."""
    from orchestrator.images.files import FileRows, ImageFile
    from orchestrator.images.refusing import refuse

    refuse([own.found], [size])
    found: dict[str, list[ImageFile]] = {}
    for file in own.found.files:
        found.setdefault(file.identity, []).append(file)
    several = [files[:4] for files in found.values() if len(files) > 1][:identities]
    if len(several) < 2:
        raise UserError(
            f"{own.path}: {len(several)} identities with two or more images; at least 2 are needed",
            "a folder holds <identity>/<image>, or gallery/ and probe/ with such folders",
        )
    rows = FileRows([file for files in several for file in files], size)
    return rows.images(), list(rows.identities)


def _test_set(
    arguments: ToInit, own: OwnFaces | None, size: tuple[int, int], texts: dict[Path, str | bytes]
) -> dict[str, Any]:
    """What the matrix says of the test set; a list of a folder without roles goes into `texts`."""
    from orchestrator.images.refusing import refuse

    folder = Path(arguments.folder)
    if own is None:
        return {"faces": "faces" if size != RENDERED_SIZE else None}
    refuse([own.found], [size])
    for note in own.found.notes:
        _say(arguments, note)
    if own.has_roles:
        return {"faces": _relative(str(own.path), folder), "searches": own.probes}
    texts[folder / LIST] = own.list_text(folder)
    _say(arguments, own.sentence())
    return {"faces": LIST, "listed": True, "searches": own.probes}


def _relative(path: str, folder: Path) -> str:
    return os.path.relpath(path, folder)


def _say(arguments: ToInit, text: str) -> None:
    if not arguments.as_json:
        from rich.console import Console

        from orchestrator.reporting.tables.fitting import print_line

        print_line(Console(highlight=False), text)


def _show(arguments: ToInit, found: Any, how: str) -> None:
    if arguments.as_json:
        return
    from rich.console import Console
    from rich.table import Table

    from orchestrator.reporting.tables.fitting import print_line

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
    print_line(
        console,
        f"{found.identities} identities, {found.probes} probes, {how}. Separation: own score above "
        "strangers', in their standard deviations; Behind: below the best, with interval.",
    )
    if not found.decided:
        print_line(
            console,
            "UNDECIDED: variants marked `as good` do not differ significantly from the one taken "
            "here. Give more faces (--identities, --images), or ask whoever trained the model.",
        )
    elif any(one.as_good for one in found.ranking[1:]):
        print_line(
            console, "What is `as good` differs by under 1 % in scale, which hardly moves a model."
        )
    if not arguments.images:
        print_line(
            console,
            "Rendered faces may mislead about a model trained on photographs: --images DIR.",
        )


def _write(texts: Mapping[Path, str | bytes], *, force: bool) -> tuple[list[Path], list[Path]]:
    written, left = [], []
    for path, text in texts.items():
        if path.exists() and not force:
            left.append(path)
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from error
        written.append(path)
    return written, left
