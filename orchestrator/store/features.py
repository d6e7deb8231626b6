"""Features of one encoder over one list of images, in the row files of `store/rows.py`.

`features.npy` holds (rows, dim) in the dtype that the board gives; `features.json` says when it is
complete, with the header: what the rows are made from, scale and zero point of integer features.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.features import Features
from orchestrator.hashing import sha256_file
from orchestrator.store.artifacts import CorruptArtifact
from orchestrator.store.rows import JOURNAL, RowWriter, summary_of

DATA = "features.npy"
SUMMARY = summary_of(DATA)

__all__ = ["DATA", "JOURNAL", "SUMMARY", "FeatureWriter", "read_features"]


class FeatureWriter(RowWriter):
    """Receives features, in any order, any number of times."""

    @classmethod
    def open(
        cls, folder: Path, rows: int, dim: int, dtype: str, header: Mapping[str, Any]
    ) -> FeatureWriter:
        """Begin a feature file, or go on with one that was begun (see `RowWriter.open_rows`).

        Args:
            folder: exists; holds nothing else of these names.
            rows: images in the list.
            dim: values a feature.
            dtype: ``float32``, ``float16``, ``uint8`` or ``int8``: as the board gives them.
            header: what the rows are made from (plain JSON), with ``scale`` and ``zero_point`` for
                integer features; must be the same when going on.

        Raises:
            UserError: a size or dtype that cannot be, or the folder holds other features.
            TransientError: the disk is full or cannot be written.
        """
        return cls.open_rows(folder / DATA, rows, (dim,), dtype, header)

    def add(self, block: Features) -> None:
        """Put a block of features on the disk; raises as `write`."""
        self.write(block.start, block.rows, block.failed)


def read_features(
    folder: Path, *, verify: bool = True
) -> tuple[NDArray[Any], NDArray[np.bool_], dict[str, Any]]:
    """A complete feature file.

    Args:
        folder: where ``FeatureWriter`` finished one.
        verify: check its sha256 (0.1 s for 50,000 x 512); False when the caller has done so.

    Returns:
        The memory-mapped rows ``(rows, dim)`` in their native dtype, the mask of failed rows
        ``(rows,)`` and the header given to ``FeatureWriter.open``.

    Raises:
        CorruptArtifact: not complete, or damaged since.
    """
    try:
        summary = json.loads((folder / SUMMARY).read_bytes())
        if verify and sha256_file(folder / DATA) != summary["sha256"]:
            raise ValueError("its sha256 is not the one written when it was complete")
        array = np.load(folder / DATA, mmap_mode="r", allow_pickle=False)
        if array.shape != (summary["rows"], summary["dim"]) or array.dtype != summary["dtype"]:
            raise ValueError(f"{array.dtype} of shape {array.shape} is not what {SUMMARY} says")
        failed = np.zeros(summary["rows"], bool)
        failed[summary["failed"]] = True
    except FileNotFoundError as error:
        raise _corrupt(
            folder, f"{folder}: not a complete feature file ({error})", "`farm resume` completes it"
        ) from error
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise _corrupt(
            folder,
            f"{folder / DATA}: damaged in the store: {error}",
            f"remove {folder} and run again",
        ) from error
    return array, failed, summary["header"]


def _corrupt(folder: Path, message: str, hint: str) -> CorruptArtifact:
    error = CorruptArtifact(message, hint)
    error.folder = folder
    return error
