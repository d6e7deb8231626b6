"""The agent's program: a command of `commands`, or a session's `child`.

Python compiles what a zip file has at each start, so the child imports no more than it needs.
"""

import argparse
import sys
from typing import List, Optional

from .protocol.errors import AgentError


def child(arguments: List[str]) -> int:
    """The process in which the runtime lives; started by a session."""
    from .session import worker  # the session's own process stays small without it

    parser = argparse.ArgumentParser(prog="agent child")
    for name in ("--parent", "--source", "--sink"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--keep", type=int, action="append", default=[], help="left open")
    parser.add_argument("--root", default="/")
    parser.add_argument("--images", default="")
    options = parser.parse_args(arguments)
    try:
        worker.main(
            options.parent, options.root, options.images, options.source, options.sink, options.keep
        )
    except AgentError as error:
        sys.stderr.write(error.message + "\n")
        return 3
    return 0


def main(arguments: Optional[List[str]] = None) -> int:
    """Run a command.

    Returns:
        the exit status: 0 done, 2 wrong arguments, 3 refused, 143 stopped.
    """
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["child"]:
        return child(words[1:])
    from . import commands

    return commands.main(words)


if __name__ == "__main__":
    sys.exit(main())
