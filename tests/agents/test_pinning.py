"""Clocks that are held for a measurement come back, however it ends."""

import json
import os
import signal

import pytest

from orchestrator.agents.measurement import pinning
from orchestrator.agents.protocol.errors import AgentError
from orchestrator.data.progress import Progress
from orchestrator.data.times import RawTimes
from orchestrator.errors import TransientError, UserError
from orchestrator.fleet.session.client import MeasurePolicy

from .conftest import faces, open_timed
from .pipes import agent, session
from .test_board_files import write

CPU = "sys/devices/system/cpu/cpu0/cpufreq"
NPU = "sys/class/devfreq/fdab0000.npu"
LOW = {f"{CPU}/scaling_min_freq": "408000", f"{NPU}/min_freq": "300000000"}
HIGH = {f"{CPU}/scaling_min_freq": "1800000", f"{NPU}/min_freq": "1000000000"}


@pytest.fixture
def root(tmp_path):
    """A board whose processor and NPU can be clocked."""
    root = tmp_path / "root"
    write(root, f"{CPU}/scaling_max_freq", "1800000\n")
    write(root, f"{NPU}/max_freq", "1000000000\n")
    write(root, "proc/sys/kernel/random/boot_id", "boot-1\n")
    for path, value in LOW.items():
        write(root, path, value + "\n")
    return root


@pytest.fixture
def workdir(tmp_path):
    folder = tmp_path / "farm"
    folder.mkdir()
    return folder


def values(root):
    return {path: (root / path).read_text().strip() for path in LOW}


def test_held_and_put_back(root, workdir):
    pinning.pin(str(workdir), str(root))
    assert values(root) == HIGH
    journal = json.loads((workdir / pinning.FILE).read_text())
    assert {os.path.relpath(path, root): old for path, old, _ in journal["changes"]} == LOW
    assert pinning.restore(str(workdir), str(root)) == []
    assert values(root) == LOW
    assert list(workdir.iterdir()) == []


def test_pinning_twice_keeps_the_first_old_values(root, workdir):
    pinning.pin(str(workdir), str(root))
    pinning.pin(str(workdir), str(root))
    pinning.restore(str(workdir), str(root))
    assert values(root) == LOW


def test_a_reboot_has_put_everything_back_by_itself(root, workdir):
    pinning.pin(str(workdir), str(root))
    write(root, "proc/sys/kernel/random/boot_id", "boot-2\n")
    for path, value in LOW.items():
        write(root, path, value)
    write(root, f"{NPU}/min_freq", "500000000")  # somebody's new choice
    pinning.restore(str(workdir), str(root))
    assert values(root)[f"{NPU}/min_freq"] == "500000000"
    assert list(workdir.iterdir()) == []


def test_all_or_none_and_the_journal_comes_first(root, workdir, monkeypatch):
    real, seen = pinning._write, []

    def stubborn(path, value):
        seen.append((workdir / pinning.FILE).exists())
        if "devfreq" in path and value == "1000000000":
            raise OSError(22, "Invalid argument")
        real(path, value)

    monkeypatch.setattr(pinning, "_write", stubborn)
    with pytest.raises(AgentError) as caught:
        pinning.pin(str(workdir), str(root))
    assert all(seen)
    assert "min_freq refuses 1000000000" in caught.value.message
    assert caught.value.kind == "user"
    assert values(root) == LOW
    assert list(workdir.iterdir()) == []


def test_no_leave_no_change(root, workdir, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: "devfreq" not in path)
    with pytest.raises(AgentError, match=r"may not be written by this user; run the agent as root"):
        pinning.pin(str(workdir), str(root))
    assert values(root) == LOW


def test_a_board_without_clocks_says_so(tmp_path, workdir):
    with pytest.raises(AgentError, match="no clocks to pin"):
        pinning.pin(str(workdir), str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    "journal",
    [
        "",
        "[]",
        '{"boot": "boot-1"}',
        '{"boot": "boot-1", "changes": [["/etc/passwd", 1, 2]]}',
        '{"boot": "boot-1", "changes": [["PLACE", "x", "y"]]}',
    ],
)
def test_a_journal_that_is_not_ours_changes_nothing(root, workdir, tmp_path, journal):
    place = tmp_path / "precious"
    place.write_text("precious")
    (workdir / pinning.FILE).write_text(journal.replace("PLACE", str(place)))
    pinning.restore(str(workdir), str(root))
    assert place.read_text() == "precious"
    assert not (workdir / pinning.FILE).exists()


LONG = MeasurePolicy(1, 20.0, 10, 30.0, clocks="pinned")


def begin(made, policy=LONG):
    """A pinned measurement under way."""
    job = made.measure(faces(1, size=8), policy, timeout_s=40)
    while not isinstance(next(job), RawTimes):
        pass
    return job


def test_a_measurement_holds_the_clocks_for_as_long_as_it_takes(root, workdir, artifact):
    with agent(workdir, extra=f"--root {root}") as channel, session(channel) as made:
        made.hello()
        open_timed(made, artifact, size=8, ms=2, dim=4)
        short = MeasurePolicy(1, 0.05, 10, 5.0, clocks="pinned")
        list(begin(made, short))
        assert values(root) == LOW
        begin(made).close()  # cancelled
        assert values(root) == LOW
        held = begin(made)
        assert values(root) == HIGH
    assert values(root) == LOW, held  # the session ended


def test_the_runtime_dies_and_the_clocks_come_back(root, workdir, artifact):
    with agent(workdir, extra=f"--root {root}") as channel, session(channel) as made:
        made.hello()
        open_timed(made, artifact, size=8, ms=2, dim=4)
        job = begin(made)
        os.kill(made._model.pid, signal.SIGKILL)
        with pytest.raises(TransientError, match="SIGKILL"):
            list(job)
        assert values(root) == LOW


def test_the_agent_is_killed_and_the_next_contact_puts_them_back(root, workdir, artifact):
    with agent(workdir, extra=f"--root {root}") as channel, session(channel) as made:
        pid = made.hello().pid
        open_timed(made, artifact, size=8, ms=2, dim=4)
        job = begin(made)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(TransientError):
            list(job)
        assert values(root) == HIGH
    with agent(workdir, extra=f"--root {root}") as channel, session(channel) as made:
        made.hello()
        assert values(root) == LOW
        assert not (workdir / pinning.FILE).exists()


def test_without_permission_the_user_is_told_and_the_board_goes_on(tmp_path, workdir, artifact):
    bare = tmp_path / "bare"
    bare.mkdir()
    with agent(workdir, extra=f"--root {bare}") as channel, session(channel) as made:
        made.hello()
        open_timed(made, artifact, size=8, ms=0, dim=4)
        with pytest.raises(UserError, match="bench: its kernel has no clocks to pin"):
            list(made.measure(faces(1, size=8), LONG, timeout_s=10))
        plain = MeasurePolicy(1, 0.01, 5, 5.0)
        assert list(made.measure(faces(1, size=8), plain, timeout_s=10))


def test_a_hot_board_is_waited_for_by_its_temperature(root, workdir, artifact):
    zone = root / "sys/class/thermal/thermal_zone0"
    write(zone, "type", "soc-thermal")
    write(zone, "temp", "61000")
    policy = MeasurePolicy(1, 0.05, 10, 5.0, cool_below_c=55.0, cool_deadline_s=20.0)
    with agent(workdir, extra=f"--root {root}") as channel, session(channel) as made:
        made.hello()
        open_timed(made, artifact, size=8, ms=1, dim=4)
        said = []
        for item in made.measure(faces(1, size=8), policy, timeout_s=30):
            if isinstance(item, Progress) and item.note:
                said.append(item.note)
                write(zone, "temp", "54000")
        assert said[0] == "cooling 61 °C → 55 °C"
        cooling = made.measurement.cooling
        assert (cooling["ended"], cooling["from_c"], cooling["to_c"]) == ("cool", 61.0, 54.0)
        write(zone, "temp", "70000")
        hot = MeasurePolicy(1, 0.05, 10, 5.0, cool_below_c=55.0, cool_deadline_s=0.3)
        list(made.measure(faces(1, size=8), hot, timeout_s=30))
        assert made.measurement.cooling["ended"] == "too late"
