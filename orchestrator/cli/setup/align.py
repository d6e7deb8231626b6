"""`farm align`: photos into aligned faces."""

from __future__ import annotations

import sys
from pathlib import Path


def align(
    photos: Path,
    model: Path,
    to: Path,
    size: tuple[int, int] | None,
    min_score: float,
    skip_unreadable: bool,
) -> int:
    """Align, and say what is missing."""
    from orchestrator.aligning.detector import Detector
    from orchestrator.aligning.photos import PROVENANCE, align_folder
    from orchestrator.counting import counted

    detector = Detector(model, size, min_score)
    height, width = detector.size
    print(f"{model.name}: outputs of {detector.spec.head}, input {height} x {width}")
    live = sys.stderr.isatty()

    def progress(done: int, total: int) -> None:
        if live:
            end = "\n" if done == total else ""
            print(f"\r{done} of {total} photos", end=end, file=sys.stderr, flush=True)

    result = align_folder(photos, to, detector, skip_unreadable=skip_unreadable, progress=progress)
    several = sum(photo.faces > 1 for photo in result.photos)
    written = len(result.photos) - len(result.missing)
    print(f"{counted(written, 'face')} of {counted(len(result.photos), 'photo')} in {to}")
    if several:
        print(f"{counted(several, 'photo')} with more than one face: the largest was taken")
    if result.missing:
        share = 100 * len(result.missing) / len(result.photos)
        print(
            f"{counted(len(result.missing), 'failure')} to acquire ({share:.1f} %), listed in "
            f"{to / PROVENANCE}: farm run does not count them in Rank-1 and TAR"
        )
    return 0
