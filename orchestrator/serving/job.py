"""The process of a run that somebody else asked for: checks what was sent, then becomes `farm run`.

`python -m orchestrator.serving.job INVENTORY RUNS STATE JOB_FOLDER`. Whatever is wrong is said on
standard error, as `farm run` says it. Nothing that was sent is executed: it is read as YAML, CSV,
JSON, ONNX and images, in this process and in those that every run has.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from orchestrator.bundle.checking import check_bundle
from orchestrator.bundle.manifest import Limits
from orchestrator.bundle.uploads import NotThere, Uploads
from orchestrator.bundle.wire import MISSING
from orchestrator.errors import FarmError, UserError
from orchestrator.serving.jobs import Asked, note_code, read_asked
from orchestrator.store.collecting import using

NONE = Limits(sys.maxsize, sys.maxsize, sys.maxsize)  # they were looked at when it was sent


def main(inventory: str, runs: str, state: str, folder: str) -> int:
    """Check, and become `farm run`; returns the exit code when it is refused."""
    asked = read_asked(Path(folder))
    matrix = ""
    try:
        if not asked.resumes:
            matrix = str(_laid_out(asked, Path(state)))
    except NotThere as error:
        print(f"farm: {error}", file=sys.stderr)
        return note_code(Path(folder), MISSING)
    except FarmError as error:
        print(f"farm: {error}", file=sys.stderr)
        return note_code(Path(folder), 2 if isinstance(error, UserError) else 1)
    words = [inventory, runs, state, folder, matrix]
    return os.execv(sys.executable, [sys.executable, "-m", "orchestrator.cli.run.sent", *words])


def _laid_out(asked: Asked, state: Path) -> Path:
    uploads = Uploads(state)
    with using(state / "store"):
        manifest = uploads.manifest(asked.bundle, NONE)
        if manifest is None:
            raise NotThere("the list of files is not here")
        tree = uploads.lay_out(manifest)
    check_bundle(tree, manifest.matrix)
    return tree / manifest.matrix


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
