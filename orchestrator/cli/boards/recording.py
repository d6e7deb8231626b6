"""`farm boards record`."""

from __future__ import annotations

from pathlib import Path

from orchestrator.cli.boards.fleet import Fleet, Places, reaching, say
from orchestrator.errors import UserError
from orchestrator.fleet.boards.addressing import contact
from orchestrator.fleet.boards.probing import probe
from orchestrator.fleet.boards.recording import SUFFIX, cleaned
from orchestrator.specs.inventory import Board
from orchestrator.specs.kinds import load_kinds
from orchestrator.specs.transports import SshTransportSpec


def record(places: Places, name: str, output: Path | None) -> int:
    """Ask the board and write the file.

    Raises:
        UserError: there is such a file already, or it cannot be written.
        FarmError: the board cannot be reached or does not answer.
    """
    board = Fleet.of(places).named(name)
    path = output or Path(f"{board.kind}{SUFFIX}")
    if path.exists():
        raise UserError(f"{path}: there is such a file already", "name another: --output FILE")
    with reaching(places, "farm boards record") as address, contact(address(board)) as commands:
        found = probe(commands.transport, load_kinds().values(), board=board.name)
        answer = commands.record()
    private = {board.name, str(dict(answer.get("hello", {})).get("hostname") or ""), *_names(board)}
    recording = cleaned(board.kind, found.to_json(), answer, private)
    try:
        path.write_text(recording.to_text(), "utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    say(f"{board.name}: {len(recording.files)} files of the board written into {path}")
    say("look through it before you send it: it is text")
    return 0


def _names(board: Board) -> set[str]:
    transport = board.transport
    if not isinstance(transport, SshTransportSpec):
        return set()
    hops = (transport, *transport.jump)
    return {word for hop in hops for word in (hop.host, hop.user) if word}
