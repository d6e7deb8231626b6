"""Numbers with their nouns."""

import pytest

from orchestrator.counting import counted, form, share


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (1, "probe", "1 probe"),
        (0, "probe", "0 probes"),
        (2000, "unknown probe", "2,000 unknown probes"),
        (2, "enrolled identity", "2 enrolled identities"),
        (3, "search", "3 searches"),
        (2, "day", "2 days"),
        (5, "box", "5 boxes"),
    ],
)
def test_a_noun_goes_with_its_number(count: int, noun: str, text: str) -> None:
    assert counted(count, noun) == text


def test_shares_and_verbs() -> None:
    assert share(1, 1, "row") == "1 of 1 row"
    assert share(1, 3, "row") == "1 of 3 rows"
    assert [form(n, "is") for n in (1, 2)] == ["is", "are"]
