"""A disposable SQLite index over the logs in a folder of runs.

`<runs>/index.sqlite` holds nothing that the logs do not, so that a question need not read every
line of every log. Deleted, damaged or of another version it is rebuilt; where it cannot be
written, the logs themselves are read.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

FILE = "index.sqlite"
# Raised whenever what is kept there, or how it is worked out from the logs, changes.
VERSION = 6
PATIENCE_S = 5.0
_TABLES = """
CREATE TABLE fleet (
    number INTEGER PRIMARY KEY, board TEXT, event TEXT, counts INTEGER, line TEXT
);
CREATE INDEX fleet_board ON fleet (board, number);
CREATE INDEX fleet_counts ON fleet (counts);
CREATE TABLE fleet_read (bytes INTEGER, tail TEXT);
CREATE TABLE runs (
    folder TEXT PRIMARY KEY, size INTEGER, changed INTEGER, summary TEXT, points TEXT, rows TEXT
);
"""

Answer = TypeVar("Answer")


def ask(
    runs: Path,
    question: Callable[[sqlite3.Connection], Answer],
    otherwise: Callable[[], Answer],
) -> Answer:
    """What `question` finds in the index, or `otherwise` finds without one.

    Args:
        runs: the folder of runs.
        question: called in a transaction in which it may also write; may be called twice.
    """
    if not runs.is_dir():
        return otherwise()
    for _ in range(2):
        try:
            with _opened(runs / FILE) as database:
                return question(database)
        except sqlite3.OperationalError:  # locked for long, no room, read-only
            return otherwise()
        except sqlite3.DatabaseError:
            with contextlib.suppress(OSError):
                (runs / FILE).unlink(missing_ok=True)
        except OSError:
            return otherwise()
    return otherwise()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    # SQLite would make it readable for others.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    with contextlib.closing(
        sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None)
    ) as database:
        # A power cut may leave it damaged: it is rebuilt then.
        database.execute("PRAGMA synchronous = OFF")
        database.execute("BEGIN IMMEDIATE")
        if database.execute("PRAGMA user_version").fetchone() != (VERSION,):
            _emptied(database)
        yield database
        database.execute("COMMIT")


def _emptied(database: sqlite3.Connection) -> None:
    for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
        database.execute(f'DROP TABLE "{table}"')
    for statement in filter(str.strip, _TABLES.split(";")):
        database.execute(statement)
    database.execute(f"PRAGMA user_version = {VERSION}")
