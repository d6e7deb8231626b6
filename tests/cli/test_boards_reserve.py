"""`farm boards reserve` and `unreserve`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from orchestrator.fleet.boards.person import person
from orchestrator.reporting.durations import length
from orchestrator.store.fleet_entries import Reserved
from orchestrator.store.fleet_log import FleetLog
from tests.cli.servers import Farm


@pytest.mark.parametrize(
    ("text", "seconds"), [("30min", 1800), ("2h", 7200), ("1.5d", 129600), (" 31d ", 31 * 86400)]
)
def test_how_long(text: str, seconds: float) -> None:
    assert length(text) == seconds


@pytest.mark.parametrize("text", ["2", "0h", "-1h", "32d", "2 weeks", "", "1e9h", "nanh"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ValueError, match="30min, 2h or 1d"):
        length(text)


def test_a_board_is_reserved_queued_for_and_given_back(farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "device_inventory.yaml").write_text(
        "boards:\n  - {name: one, kind: rv1126, transport: emulated}\n"
    )
    FleetLog(tmp_path / "runs").append(
        Reserved(board="one", by="ann@lab", for_s=3600, reason="new \x1b[31mdriver")
    )
    code, out, err = farm("reserve", "one", "--for", "2h", "--why", "a demo")
    assert code == 0, err
    assert "after ann@lab" in out.splitlines()[0]
    (shown,) = json.loads(farm("list", "--json")[1])
    first, second = shown["reserved"]
    assert (first["by"], second["by"]) == ("ann@lab", person())
    assert second["begins"] == first["ends"] > time.time()
    assert second["ends"] - second["begins"] == 7200
    code, out, _ = farm("list")
    assert "reserved by ann@lab until " in out
    assert "1 reservation after it" in out
    assert "\x1b[31m" not in out
    assert "a demo" in farm("show", "one")[1]
    assert "not reserved by bob@lab; by ann@lab" in farm("unreserve", "one", "--of", "bob@lab")[2]
    assert "no longer reserved by ann@lab" in farm("unreserve", "one", "--of", "ann@lab")[1]
    (shown,) = json.loads(farm("list", "--json")[1])
    assert [each["by"] for each in shown["reserved"]] == [person()]
    assert shown["reserved"][0]["begins"] <= time.time()
    assert farm("unreserve", "one")[0] == 0
    (shown,) = json.loads(farm("list", "--json")[1])
    assert shown["reserved"] == []
    code, _, err = farm("reserve", "two", "--for", "1h")
    assert code == 2
    assert "no board 'two'" in err
