"""The process of a run that was sent to `farm serve`: as `farm run`, or as `farm resume`.

`python -m orchestrator.cli.run.sent INVENTORY RUNS STATE JOB_FOLDER MATRIX`, by
`orchestrator/serving/job.py`, which has checked what was sent.
"""

from __future__ import annotations

import sys
from pathlib import Path

from orchestrator.cli.main import reported
from orchestrator.cli.parsing import Where
from orchestrator.cli.run.run import resume, shown, start
from orchestrator.request import Request
from orchestrator.serving.jobs import note_code, read_asked


def main(inventory: str, runs: str, state: str, folder: str, matrix: str) -> int:
    """Run it; returns the exit code, which is stored in the job's folder, too."""
    return note_code(Path(folder), _run(inventory, runs, state, folder, matrix))


def _run(inventory: str, runs: str, state: str, folder: str, matrix: str) -> int:
    asked = read_asked(Path(folder))
    how = shown(quiet=True, verbose=False, as_json=False)
    try:
        if asked.resumes:
            return resume(runs, asked.run, how, state=None, ray_address=None)
        request = Request(
            matrix, inventory, state, runs, asked.only, asked.limit, called=asked.called
        )
        return start(request, how, remeasure=asked.remeasure, name=asked.run)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return reported(error, Where())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
