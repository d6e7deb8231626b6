"""What brings a board back that does not answer or does not work: a reboot, or its power.

A power hook is the argv of a program that the inventory names, for a switched socket or a USB hub.
It is run without a shell, and what the inventory says of the board is put in whole words.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from typing import Literal

from orchestrator.errors import BoardError, FarmError, TransientError
from orchestrator.fleet.boards.board import Address, make_transport
from orchestrator.fleet.boards.deadlines import POWER_S, REBOOT_S
from orchestrator.fleet.transport.untrusted import headline
from orchestrator.specs.inventory import Board
from orchestrator.specs.transports import SshTransportSpec

Rung = Literal["reboot", "power"]


def rungs(board: Board) -> tuple[Rung, ...]:
    """What may be tried, the gentler way first."""
    found: list[Rung] = []
    if board.recovery.reboot is not None:
        found.append("reboot")
    if board.recovery.power:
        found.append("power")
    return tuple(found)


def reboot(board: Board, address: Address) -> None:
    """Tell a board to reboot. It need not answer: many drop the connection first.

    Raises:
        TransientError: it cannot be reached to be told.
        BoardError: it refuses.
    """
    command = board.recovery.reboot or "reboot"
    transport = make_transport(address)
    try:
        transport.connect(address.deadlines.connect_s)
        with contextlib.suppress(TransientError):
            result = transport.run(command, timeout_s=REBOOT_S)
            if result.status > 0:
                words = headline(result.stderr.decode("utf-8", "replace"), 200)
                raise BoardError(
                    f"{board.name}: `{command}` ended with status {result.status}: {words}",
                    "`recovery: {reboot: sudo -n reboot}` needs a user who may do that",
                )
    finally:
        transport.close()


def cycle_power(board: Board, stop: threading.Event) -> None:
    """Run a board's power hook: `off`, a pause, `on` where it takes {action}, else once.

    Raises:
        TransientError: the program is not there, fails, or does not end within `POWER_S`.
    """
    template = board.recovery.power
    actions = ("off", "on") if any("{action}" in word for word in template) else ("cycle",)
    for action in actions:
        if action == "on" and stop.wait(board.recovery.off_s):
            raise TransientError("stopped")
        _run(board, [_filled(word, board, action) for word in template])


def _filled(word: str, board: Board, action: str) -> str:
    host = board.transport.host if isinstance(board.transport, SshTransportSpec) else ""
    for name, value in (("action", action), ("name", board.name), ("host", host)):
        word = word.replace("{" + name + "}", value)
    return word


def _run(board: Board, argv: list[str]) -> None:
    about = f"{board.name}: its power hook `{headline(' '.join(argv), 100)}`"
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=POWER_S,
            env={k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")},
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TransientError(f"{about} did not end within {POWER_S:.0f} s") from error
    except OSError as error:
        raise TransientError(f"{about} does not start: {error.strerror}") from error
    if done.returncode != 0:
        words = headline((done.stderr or done.stdout).decode("utf-8", "replace"), 200)
        raise TransientError(f"{about} ended with status {done.returncode}: {words}")


def longest_s(board: Board, connect_s: float) -> float:
    """Seconds that a rung takes at the most, where connecting takes at most `connect_s`."""
    return connect_s + REBOOT_S + 2 * POWER_S + board.recovery.off_s


def climb(board: Board, rung: Rung, address: Address | None, stop: threading.Event) -> str:
    """Try one rung; what went wrong with it in words, empty when it was done."""
    try:
        if rung == "power":
            cycle_power(board, stop)
        elif address is not None:
            reboot(board, address)
    except FarmError as error:
        return error.message
    return ""
