"""What a client of `farm run --remote` and a server say to each other."""

from __future__ import annotations

PROTOCOL = 1
"""Raised whenever an older client or server would misunderstand the other."""
ROOT = "/api/v1"
EVENT_STREAM = "text/event-stream"
FRAME_HEAD = 128
"""Most bytes of the line before a content: `SHA256 OFFSET LENGTH` and a line feed."""
JOB = r"[0-9a-f]{32}"
RUN = r"[0-9A-Za-z][0-9A-Za-z._-]{0,99}"
"""Names of runs."""
OVER, LOST, ALIVE_S = "over", "lost", 15.0
"""Server-sent events beside the run's own: it has ended; nobody carries it on. A line comes at
least every so many seconds."""
HELD_STAGES = ("evaluate", "measure", "score")
"""Stages whose results are given to whoever sent a run: scores, boxes and raw times, no image and
no feature."""
MISSING = 75
"""Exit code of a job whose contents are to be sent again."""
