"""How many bytes of images are under way: enough for a quick board, few for a slow one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.agents.protocol.wire import MAX_PAYLOAD
from orchestrator.fleet.session.flow import FRAME_S, PIECE, Flow

FACE = 112 * 112 * 3


def worked(ms: float, image_bytes: int = FACE, window: int = 4 << 20, rtt_s: float = 0.001) -> Flow:
    """The flow to a board that has worked off some frames at `ms` an image."""
    flow, now = Flow(window, image_bytes, rtt_s), 0.0
    for _ in range(20):
        count = flow.images_a_frame
        now += count * ms / 1e3
        flow.returned(count * image_bytes, now)
    return flow


@given(
    ms=st.floats(0.001, 10_000),
    image_bytes=st.integers(1, 4 << 20),
    window=st.integers(0, 256 << 20),
    rtt_s=st.floats(0, 2),
)
def test_a_frame_is_of_an_image_or_of_few_enough(
    ms: float, image_bytes: int, window: int, rtt_s: float
) -> None:
    """Several of them fit into what the board takes at once, and each is worked off soon."""
    flow = worked(ms, image_bytes, window, rtt_s)
    count = flow.images_a_frame
    assert count == 1 or count * image_bytes <= min(window // 4, MAX_PAYLOAD)
    assert count == 1 or count * image_bytes <= PIECE or count * ms / 1e3 <= FRAME_S * 1.01
    assert flow.limit <= window


def test_a_quick_boards_frames_are_longer_than_a_slow_ones() -> None:
    first = Flow(4 << 20, FACE, 0.001).images_a_frame
    assert worked(26).images_a_frame == first == PIECE // FACE
    assert worked(2.5).images_a_frame == 25
    assert worked(0.1).images_a_frame == (1 << 20) // FACE


def test_a_far_board_has_the_more_under_way_the_farther_it_is() -> None:
    """Twice what it works off during a round trip."""
    near, far = worked(10, rtt_s=0.0).limit, worked(10, rtt_s=0.1).limit
    assert abs(far - near - 2 * 0.1 * FACE / 0.010) < 2
