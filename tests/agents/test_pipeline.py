"""The board is kept busy over a slow link, and its memory stays flat; figures in benchmarks."""

import numpy as np

from .conftest import FACE, OWN, Rows, faces, open_timed
from .pipes import agent, session
from .slow_link import SlowLink


def test_receiving_running_and_sending_overlap(tmp_path, artifact):
    """40 ms there and back: image after image, the board would be busy a quarter of the time."""
    with agent(tmp_path) as channel:
        with session(SlowLink(channel, rtt_s=0.040, mbit_s=25)) as made:
            made.hello()
            open_timed(made, artifact, size=32, dim=16, ms=16)
            images = Rows(faces(50, size=32))
            total = sum(len(block.rows) for block in made.extract(images, timeout_s=30))
            assert total == 50
            assert made.extraction.run_ns / made.extraction.span_ns > 0.7


@OWN  # QEMU reserves more than this for itself
def test_memory_is_flat_under_a_limit(tmp_path, artifact):
    """Agent and runtime child each may have 256 MB of address space; most of it is libraries."""

    class Many:
        def __len__(self):
            return 450

        def read(self, start, n):
            return np.full((n, FACE, FACE, 3), start % 251, np.uint8)

    with agent(tmp_path, before="ulimit -v 262144; ") as channel, session(channel) as made:
        pids = [made.hello().pid, open_timed(made, artifact, FACE, ms=0, dim=256).pid]
        early, done = {}, 0
        for block in made.extract(Many(), timeout_s=60):
            done += len(block.rows)
            if done >= 150 and not early:
                early = {pid: resident(pid) for pid in pids}
        for pid in pids:
            assert resident(pid) - early[pid] < 4 << 20
    assert done == 450


def resident(pid):
    with open(f"/proc/{pid}/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["VmRSS"].split()[0]) * 1024
