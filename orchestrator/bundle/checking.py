"""A bundle that somebody sent, laid out in a folder: it must lead nowhere outside of it.

The folder holds just what the manifest lists, with the bytes that were hashed; there is no link.
What the specifications in it say is not believed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from orchestrator.bundle.reach import reached
from orchestrator.bundle.refusing import refuse_code
from orchestrator.errors import UserError
from orchestrator.specs.base import FileSpec
from orchestrator.specs.manifests import load_detector, load_models
from orchestrator.specs.matrix import Matrix, is_path, load_matrix
from orchestrator.specs.meaning import Means, leaves
from orchestrator.specs.yamlfile import Problem, fail

MOST_LIST = 256 << 20
"""Bytes of a list or a file of annotations, which is read as a whole."""
NOT_SENT = "only files that are sent with the matrix are used: farm run --remote sends them"


def check_bundle(folder: Path, matrix: str) -> Matrix:
    """See that a matrix leads to no file outside of its folder and loads no code.

    Args:
        folder: where the bundle is laid out.
        matrix: the matrix's name there.

    Raises:
        UserError: it does, or a specification is wrong; a line for each problem.
    """
    spec = load_matrix(folder / matrix)
    refuse_code([spec])
    fail(list(_outside(spec, folder)), NOT_SENT)
    # No file that a manifest names is read before it is known to be inside: not even its hash may
    # be in an answer.
    manifests = [*load_models(spec, verify=False).values()]
    detector = load_detector(spec, verify=False)
    manifests += [detector] if detector is not None else []
    refuse_code(manifests)
    # Manifests that came with farm name files that came with farm.
    sent = [each for each in manifests if _inside(each.folder, folder)]
    fail([problem for each in sent for problem in _outside(each, folder)], NOT_SENT)
    _check_named(spec, folder)
    return spec


def check_text(folder: Path, matrix: str) -> Matrix:
    """See that a matrix that came alone names no file at all, and loads no code.

    Raises:
        UserError: it does, or it is wrong.
    """
    spec = load_matrix(folder / matrix)
    refuse_code([spec])
    fail(
        [
            spec.source.problem(leaf.place, f"{leaf.place[0]}: {leaf.value} is a file or folder")
            for leaf in leaves(spec)
            if leaf.meaning is Means.PATH
            or (leaf.meaning is Means.MANIFEST and is_path(str(leaf.value)))
        ],
        "a matrix that comes alone names rendered sets and models of the project by name",
    )
    return spec


def _outside(spec: FileSpec, folder: Path) -> Iterator[Problem]:
    for leaf in leaves(spec):
        key = ".".join(str(step) for step in leaf.place if isinstance(step, str))
        text = str(leaf.value)
        if leaf.meaning is Means.MANIFEST and not is_path(text):
            continue
        if leaf.meaning is Means.PATH:
            path = Path(leaf.value)
        elif leaf.meaning in (Means.MANIFEST, Means.BESIDE):
            path = spec.folder / Path(text).expanduser()
        else:
            continue
        if not _inside(path, folder):
            problem = f"{key}: the path leads outside of what was sent"
            yield spec.source.problem(leaf.place, problem)


def _check_named(matrix: Matrix, folder: Path) -> None:
    """See that lists name nothing outside, before anything reads what they name."""
    for leaf in leaves(matrix):
        if leaf.meaning is Means.PATH:
            path = Path(leaf.value)
            # Images are read one by one, with limits of their own.
            if path.is_file() and path.stat().st_size > MOST_LIST:
                raise UserError(f"{leaf.place[0]}: a list of more than {MOST_LIST:,} bytes")
    for each in reached(matrix):
        for path in each.below:
            if not _inside(path, folder):
                name = os.path.relpath(each.path, folder)
                raise UserError(
                    f"{each.key}: {name} leads to a file outside of what was sent", NOT_SENT
                )


def _inside(path: Path, folder: Path) -> bool:
    """Whether a path stays in a folder, as text and with every link followed."""
    plain = os.path.normpath(os.path.join(os.getcwd(), path))
    root = os.path.normpath(os.path.join(os.getcwd(), folder))
    real, real_root = os.path.realpath(path), os.path.realpath(folder)
    as_text = os.path.commonpath([plain, root]) == root
    return as_text and os.path.commonpath([real, real_root]) == real_root
