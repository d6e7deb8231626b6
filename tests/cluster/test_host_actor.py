"""What a host actor raises arrives at the driver as what it is."""

from __future__ import annotations

import pickle
import threading

import pytest

from orchestrator.cluster import host_actor
from orchestrator.cluster.host_actor import portable
from orchestrator.errors import BoardError, FarmError, ToolchainError, TransientError, UserError
from orchestrator.fleet.boards.board import BoardBusy


class Particular(BoardError):
    """Takes other arguments than its base, as errors that carry more than words do."""

    def __init__(self, board: str, *, shown: str, pinned: str) -> None:
        super().__init__(f"{board}: {shown} instead of {pinned}", "look")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Particular("b", shown="x", pinned="y"), BoardError),
        (BoardBusy("b is in use"), BoardBusy),
        (TransientError("t", "h"), TransientError),
        (UserError("u"), UserError),
        (ToolchainError("c"), ToolchainError),
        (FarmError("f", "h"), FarmError),
    ],
)
def test_errors_survive_the_way_between_processes(error: FarmError, kind: type[FarmError]) -> None:
    arrived = pickle.loads(pickle.dumps(portable(error)))
    assert type(arrived) is kind
    assert (arrived.message, arrived.hint) == (error.message, error.hint)


def test_a_call_passes_messages_on_to_whoever_sends_values_into_it():
    """Ray drives generators with `send`, which `yield from` hands on to what it yields from."""
    heard = threading.Event()

    def work(send):
        send("half way")
        assert heard.wait(60)
        return 42

    call = host_actor._Call(work)
    messages = call.messages()
    assert messages.send(None) == "half way"
    heard.set()
    with pytest.raises(StopIteration):
        messages.send({"from": "Ray"})
    assert call.result() == 42
