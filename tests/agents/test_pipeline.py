"""The board is kept busy, over a slow link too, and its memory stays flat."""

import numpy as np
import pytest

from .conftest import Rows, faces, open_timed
from .pipes import agent, session
from .slow_link import SlowLink


def busy(tmp_path, artifact, count, over=None, **options):
    """Sum of run times over first start to last end."""
    with agent(tmp_path) as channel, session(over(channel) if over else channel) as made:
        made.hello()
        open_timed(made, artifact, dim=256, **options)
        total = sum(len(block.features) for block in made.extract(Rows(faces(count)), timeout_s=30))
        assert total == count
        return made.extraction.run_ns / made.extraction.span_ns


def test_receiving_running_and_sending_overlap(tmp_path, artifact):
    assert busy(tmp_path, artifact, 60, ms=16) >= 0.9


@pytest.mark.slow
def test_a_board_of_16_ms_is_kept_busy(tmp_path, artifact):
    assert busy(tmp_path, artifact, 1000, ms=16) >= 0.97


@pytest.mark.slow
def test_a_board_behind_a_slow_link_is_kept_busy(tmp_path, artifact):
    """40 ms there and back, 25 Mbit/s; stop and wait would reach about a quarter."""

    def over(channel):
        return SlowLink(channel, rtt_s=0.040, mbit_s=25)

    assert busy(tmp_path, artifact, 1000, over, ms=16) >= 0.95


@pytest.mark.slow
def test_memory_is_flat_under_a_limit(tmp_path, artifact):
    """50,000 images; agent and runtime child each may have 256 MB of address space."""

    class Endless:
        def __len__(self):
            return 50_000

        def read(self, start, n):
            return np.full((n, 112, 112, 3), start % 251, np.uint8)

    with agent(tmp_path, before="ulimit -v 262144; ") as channel, session(channel) as made:
        pids = [made.hello().pid, open_timed(made, artifact, ms=0, dim=256).pid]
        early, done = {}, 0
        for block in made.extract(Endless(), timeout_s=60):
            done += len(block.features)
            if done >= 5_000 and not early:
                early = {pid: resident(pid) for pid in pids}
        for pid in pids:
            assert resident(pid) - early[pid] < 4 << 20
    assert done == 50_000


def resident(pid):
    with open(f"/proc/{pid}/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["VmRSS"].split()[0]) * 1024
