"""Scores and features to and from other people's tools: CSV, npz, safetensors, IJB-style lists."""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.scoring.errors import ScoringError
from orchestrator.scoring.exact import Float32
from orchestrator.scoring.searches import Searches
from orchestrator.scoring.templates import unit_rows
from orchestrator.scoring.trials import TrialSet

PathLike = str | os.PathLike[str]

_SAFETENSORS = {"float32": "F32", "float16": "F16", "uint8": "U8", "int8": "I8", "int64": "I64"}


def write_scores_csv(path: PathLike, searches: Searches, trials: TrialSet) -> None:
    """One line a probe: row, identity, mated, failed, mate, impostor, rank.

    Scores have nine significant digits, which give the float32 back; a missing one is empty.
    """
    with Path(path).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "identity", "mated", "failed", "mate", "impostor", "rank"])
        for row, identity in enumerate(trials.probe_ids):
            scores = [
                "" if math.isnan(value) else f"{value:.9g}"
                for value in (float(searches.mate[row]), float(searches.impostor[row]))
            ]
            rank = "" if searches.rank is None else int(searches.rank[row])
            marks = [int(searches.mated[row]), int(searches.failed[row])]
            writer.writerow([row, identity, *marks, *scores, rank])


def write_safetensors(
    path: PathLike, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> None:
    """Arrays in the safetensors format (length of the header, JSON header, raw little-endian data).

    Raises:
        ScoringError: a dtype that the format or farm does not use.
    """
    head: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, array in arrays.items():
        if array.dtype.name not in _SAFETENSORS:
            raise ScoringError(f"{path}: {name} is {array.dtype}, which is not exported")
        head[name] = {
            "dtype": _SAFETENSORS[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [at, at + array.nbytes],
        }
        at += array.nbytes
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format asks for aligned data
    with Path(path).open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for array in arrays.values():
            little = array.dtype.newbyteorder("<")
            for start in range(0, len(array), 4096):  # a memory-mapped gallery stays on disk
                file.write(np.ascontiguousarray(array[start : start + 4096], little).tobytes())


def read_features_npy(
    path: PathLike, list_path: PathLike
) -> tuple[Float32, NDArray[np.str_], NDArray[np.bool_]]:
    """Features made elsewhere: a ``.npy`` of floats and a list of identities.

    Args:
        path: float32, or float16 or float64 (converted), of shape ``(n, D)``.
        list_path: see ``read_identities``.

    Returns:
        float32 ``(n, D)`` (memory-mapped where it is kept so), identities ``(n,)`` and which rows
        failed ``(n,)``.

    Raises:
        ScoringError: not such a file, another dtype, or another number of lines.
    """
    features = read_matrix(path)
    ids, failed = read_identities(list_path)
    if len(ids) != len(features):
        raise ScoringError(
            f"{list_path}: {len(ids)} identities for the {len(features)} feature rows of {path}"
        )
    return features, ids, failed


def read_matrix(path: PathLike) -> Float32:
    """A ``.npy`` file of features, float32 ``(n, D)``.

    Raises:
        ScoringError: not there, no such file, not of two dimensions, or not of floats.
    """
    try:
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ScoringError(f"{path}: not a .npy file of numbers ({error})") from error
    except OSError as error:
        raise ScoringError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not isinstance(features, np.ndarray) or features.ndim != 2 or features.dtype.kind != "f":
        raise ScoringError(
            f"{path}: float32 of shape (rows, values) expected, got "
            f"{getattr(features, 'dtype', 'an archive')} of shape "
            f"{getattr(features, 'shape', '?')}; dequantize integer features first"
        )
    if features.dtype == np.float32:
        return features
    return np.asarray(features, np.float32)


def read_identities(path: PathLike) -> tuple[NDArray[np.str_], NDArray[np.bool_]]:
    """Who each feature row shows.

    Either a CSV file whose first line names the columns, with ``identity`` and optionally
    ``failed`` (0 or 1: the image could not be embedded; its row is not looked at), or one row a
    line: ``identity`` (no white space in any line) or ``image identity`` (every line has the
    name of an image file, or a tab, between both). One form holds for the whole file.

    Returns:
        Identities ``(n,)`` and failed rows ``(n,)``.

    Raises:
        ScoringError: not there, a line of another form (names file and line), or a file that
            may be read in two ways.
    """
    lines = _text(path).splitlines()
    columns = [word.strip() for word in lines[0].split(",")] if lines else []
    if "identity" not in columns:
        if len(columns) > 1:
            raise ScoringError(
                f"{path}:1: the column 'identity' is missing (there are: {', '.join(columns)})"
            )
        names = _plain_list(path, lines)
        return np.array(names, np.str_), np.zeros(len(names), bool)
    ids, failed = [], []
    for number, row in enumerate(csv.DictReader(lines), 2):
        row = {(name or "").strip(): (value or "").strip() for name, value in row.items() if name}
        if not row["identity"]:
            raise ScoringError(f"{path}:{number}: identity is empty")
        if row.get("failed", "0") not in ("0", "1"):
            raise ScoringError(f"{path}:{number}: failed must be 0 or 1, not {row['failed']!r}")
        ids.append(row["identity"])
        failed.append(row.get("failed") == "1")
    return np.array(ids, np.str_), np.array(failed, bool)


_IMAGE_LINE = re.compile(
    r"(?P<image>.*?\.(?:png|jpe?g|bmp|webp|tiff?|gif|avif|heic|heif|p[gpn]m|npy))\s+(?P<name>\S.*)",
    re.IGNORECASE,
)


def _plain_list(path: PathLike, lines: Sequence[str]) -> list[str]:
    """Identities of a list without a heading, whose form is decided once for all of it."""
    rows = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if all("\t" not in line and len(line.split()) == 1 for _, line in rows):
        return [line for _, line in rows]
    for matches in (
        [re.fullmatch(r"[^\t]+\t(?P<name>[^\t]+)", line) for _, line in rows],
        [_IMAGE_LINE.fullmatch(line) for _, line in rows],
    ):
        fitting = [match for match in matches if match]
        if len(fitting) == len(rows):
            return [match["name"].strip() for match in fitting]
        if fitting:
            number, line = next(row for row, match in zip(rows, matches, strict=True) if not match)
            raise ScoringError(
                f"{path}:{number}: 'image identity' expected as in other lines, got {line!r}; "
                "one form holds for the whole file"
            )
    number, line = next(row for row in rows if len(row[1].split()) > 1)
    raise ScoringError(
        f"{path}:{number}: {line!r} may be one name with a space, or an image and an identity. "
        "For names, write the word identity as the first line; for images, put a tab between "
        "image and identity, or write CSV with the columns image,identity"
    )


def read_template_subjects(path: PathLike) -> dict[int, str]:
    """InsightFace's IJB list of an 1:N side (``ijbc_1N_gallery_G1.csv``, ``..._probe_mixed.csv``).

    The first two columns are template and subject, the first line is a heading; further columns
    and lines that repeat a template (one a face) are allowed.

    Returns:
        Subject of each template.

    Raises:
        ScoringError: not there, a line of another form, or one template of two subjects.
    """
    found: dict[int, str] = {}
    for number, row in enumerate(csv.reader(_text(path).splitlines()), 1):
        if number == 1 or not row:
            continue
        if len(row) < 2 or not row[0].strip().lstrip("-").isdigit() or not row[1].strip():
            raise ScoringError(f"{path}:{number}: 'template,subject,...' expected, got {row[:3]}")
        template, subject = int(row[0]), row[1].strip()
        if found.setdefault(template, subject) != subject:
            raise ScoringError(
                f"{path}:{number}: template {template} is of subject {subject}, "
                f"but of {found[template]} before"
            )
    if not found:
        raise ScoringError(f"{path}: 0 rows")
    return found


def _text(path: PathLike) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ScoringError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ScoringError(f"{path}: not a text in UTF-8 ({error})") from error


def read_template_media(
    path: PathLike,
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """InsightFace's IJB list (``ijbc_face_tid_mid.txt``): ``image template media`` a line.

    Returns:
        Image names, template numbers ``(n,)`` and media numbers ``(n,)``.

    Raises:
        ScoringError: a line of another form; names file and line.
    """
    names, templates, media = [], [], []
    for number, line in enumerate(_text(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 3 or not all(word.lstrip("-").isdigit() for word in words[1:]):
            raise ScoringError(f"{path}:{number}: 'image template media' expected, got {line!r}")
        names.append(words[0])
        templates.append(int(words[1]))
        media.append(int(words[2]))
    if not names:
        raise ScoringError(f"{path}: 0 rows")
    return names, np.array(templates, np.int64), np.array(media, np.int64)


def pool_templates(
    features: Float32, templates: NDArray[np.int64], media: NDArray[np.int64]
) -> tuple[Float32, NDArray[np.int64]]:
    """One feature a template, as IJB's protocol pools them (insightface, ijb_1n.py).

    Images of one medium (the frames of a video) are averaged first, so that a long video counts as
    much as a photo; a template's media are added up. Images are normalized before.

    Returns:
        float32 ``(T, D)`` in ascending order of template, not normalized, and the templates.
    """
    names, place = np.unique(templates, return_inverse=True)
    pairs, group, counts = np.unique(
        np.stack([place, media], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    unit = unit_rows(features, slice(None), "templates", templates).astype(np.float64)
    means = np.zeros((len(pairs), features.shape[1]))
    np.add.at(means, group.ravel(), unit)
    means /= counts[:, None]
    pooled = np.zeros((names.size, features.shape[1]))
    np.add.at(pooled, pairs[:, 0], means)
    return pooled.astype(np.float32), names
