"""An error keeps what it knows on its way between processes, and from one error to the next."""

from __future__ import annotations

import pickle

import pytest

from orchestrator.errors import BoardError, TransientError
from orchestrator.fleet.transport.deadline import Expired, Hung, named


def test_last_words_come_before_the_hint_and_are_a_field_of_their_own() -> None:
    error = BoardError("b: it ended", "mend it", last_words="Killed")
    assert (error.hint, error.last_words) == ("its last lines: Killed; mend it", "Killed")
    again = pickle.loads(pickle.dumps(error))
    assert (again.message, again.hint) == (error.message, error.hint)
    assert (again.last_words, again.deadline) == ("Killed", "")
    assert BoardError("b: it ended", "mend it").last_words == ""


@pytest.mark.parametrize(("kind", "becomes"), [(Expired, TransientError), (Hung, BoardError)])
def test_a_deadline_that_passed_is_named_in_a_field(kind: type, becomes: type) -> None:
    with pytest.raises(becomes) as seen, named("open_s", 3):
        raise kind("b: no word", last_words="loading")
    assert (seen.value.deadline, seen.value.last_words) == ("open_s", "loading")
    assert seen.value.hint.startswith("its last lines: loading; FARM_DEADLINES=")
