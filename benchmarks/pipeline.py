"""How busy a board is kept, near and far: the sum of run times over last end - first start.

The runtime takes exactly 16 ms an image (it sleeps); images of 37,632 bytes go to it over SSH and
features come back. The far link is a user-space relay of 40 ms there and back and 25 Mbit/s. Beside
each stands a loop that sends an image when the features of the one before have come.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from benchmarks._boards import IMAGE_BYTES, Images, Server, server, session
from orchestrator.fleet.session import link
from orchestrator.fleet.session.flow import Flow
from tests.faulty_proxy import Weather

MS = 16
FAR = {"delay_s": 0.020, "bytes_per_s": 25e6 / 8}
WANTED = {"near": 0.97, "far": 0.95}


class StopAndWait(Flow):
    """One image under way at a time."""

    @property
    def images_a_frame(self) -> int:
        """One."""
        return 1

    @property
    def limit(self) -> int:
        """Nothing beyond the one image."""
        return 0


@contextmanager
def stop_and_wait() -> Iterator[None]:
    """Sessions send one image at a time."""
    with mock.patch.object(link, "Flow", StopAndWait):
        yield


def busy(where: Server, weather: Weather | None, count: int) -> tuple[float, float]:
    """Share of the time in which the runtime ran, and the shortest round trip in ms."""
    with session(where, weather, ms=MS, dim=512) as made:
        for _ in made.extract(Images(4), timeout_s=60):  # the round trip is known, as in a run
            pass
        rows = sum(len(block.rows) for block in made.extract(Images(count), timeout_s=60))
        assert rows == count
        facts = made.extraction
        assert facts is not None
        return facts.run_ns / facts.span_ns, made._link.rtt_s * 1e3


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks pipeline", description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    count = parser.parse_args().images
    with server() as where:
        print(f"{count} images of {IMAGE_BYTES:,} bytes, {MS} ms each, over {where.what}")
        for name, weather in (("near", None), ("far", Weather(**FAR))):
            share, rtt_ms = busy(where, weather, count)
            with stop_and_wait():
                loop, _ = busy(where, weather, max(50, count // 10))
            verdict = "ok" if share >= WANTED[name] else "TOO LOW"
            print(
                f"{name}: {share:.1%} busy at a round trip of {rtt_ms:.1f} ms "
                f"(wanted {WANTED[name]:.0%}: {verdict}); stop and wait: {loop:.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
