"""Frames in any split, damaged or wrapped in noise; the rules of a conversation."""

import itertools
import zlib

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orchestrator.agents.protocol import wire
from orchestrator.agents.protocol.wire import Conversation, Decoder, Frame, WireError, encode, join

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)
frames = st.builds(
    Frame,
    st.sampled_from(sorted(wire.NAMES)),
    st.integers(0, wire.MAX_JOB),
    st.dictionaries(st.text(max_size=8), json_values, max_size=2),
    st.binary(max_size=300),
)


def same(one, other):
    return (one.type, one.job, one.meta, bytes(one.payload)) == (
        other.type,
        other.job,
        other.meta,
        bytes(other.payload),
    )


def split(data, cuts):
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def decode(decoder, pieces):
    return [frame for piece in pieces for frame in decoder.feed(piece)]


@settings(deadline=None, max_examples=60)
@given(st.lists(frames, max_size=4), st.lists(st.integers(0, 10_000), max_size=12))
def test_frames_survive_any_split(sent, cuts):
    data = b"".join(join(frame) for frame in sent)
    decoder = Decoder()
    got = decode(decoder, split(data, cuts))
    assert len(got) == len(sent)
    assert all(same(a, b) for a, b in zip(sent, got, strict=True))
    assert decoder.pending == 0


@settings(deadline=None, max_examples=60)
@given(frames, st.integers(0, 10_000), st.integers(0, 7))
def test_a_flipped_bit_never_passes(frame, place, bit):
    data = bytearray(join(frame))
    data[place % len(data)] ^= 1 << bit
    decoder = Decoder()
    try:
        got = decode(decoder, [bytes(data), b"\0" * (wire.MAX_META + 1)])
    except WireError:
        with pytest.raises(WireError):
            list(decoder.feed(b"anything"))
        return
    # A longer announced payload waits for bytes that never come; type and job have no checksum
    # of their own, and a wrong one is refused by the conversation.
    assert not got or got[0].meta == frame.meta


@settings(deadline=None, max_examples=60)
@given(frames, st.integers(0, 10_000), st.integers(1, 255))
def test_damage_behind_the_header_is_always_noticed(frame, place, mask):
    data = bytearray(join(frame))
    assume(len(data) > wire.HEADER.size)
    data[wire.HEADER.size + place % (len(data) - wire.HEADER.size)] ^= mask
    with pytest.raises(WireError, match="checksum"):
        list(Decoder().feed(bytes(data)))


@given(st.binary(max_size=4000), st.lists(st.integers(0, 10_000), max_size=6), st.booleans())
@settings(deadline=None, max_examples=200)
def test_any_bytes_end_in_frames_or_an_error(data, cuts, noisy):
    decoder = Decoder(skip_noise=noisy)
    try:
        decode(decoder, split(data, cuts))
    except WireError:
        return
    assert decoder.pending <= len(data)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=2000), st.lists(frames, max_size=3), st.lists(st.integers(0, 9999)))
def test_noise_is_skipped_before_the_first_frame(noise, later, cuts):
    hello = Frame(wire.HELLO, 0, {"protocol": 1})
    data = noise + b"FRM1 is what a banner may say\n" + join(hello)
    data += b"".join(join(frame) for frame in later)
    got = decode(Decoder(skip_noise=True), split(data, cuts))
    assert same(got[0], hello)
    assert len(got) == 1 + len(later)


def test_a_damaged_hello_is_noise_and_the_next_one_counts():
    good = join(Frame(wire.HELLO, 0, {"a": 1}))
    bad = good[:-1] + b"!"
    assert [frame.meta for frame in Decoder(skip_noise=True).feed(bad + good)] == [{"a": 1}]


HELLO = Frame(wire.HELLO, 0, {"protocol": 1})
texts = st.one_of(
    st.sampled_from([b"", b"tick\n", b"FRM1", b"FRM1\n", b"FRM1\x06", b"FRMFRM1FR"]),
    st.binary(max_size=60).map(lambda data: data.replace(b"\0", b"")),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(frames, texts), max_size=4), st.lists(st.integers(0, 9999)))
def test_text_between_frames_is_skipped_and_counted(sent, cuts):
    data = join(HELLO) + b"".join(join(frame) + noise for frame, noise in sent)
    decoder = Decoder(skip_noise=True)
    got = decode(decoder, split(data + join(HELLO), cuts))
    assert all(same(a, b) for a, b in zip([HELLO, *(f for f, _ in sent), HELLO], got, strict=True))
    noise = b"".join(noise for _, noise in sent)
    assert decoder.skipped == len(noise)
    assert decoder.noise == noise[:80]


@settings(deadline=None, max_examples=80)
@given(st.lists(frames, min_size=1, max_size=3), texts, st.integers(0, 9999))
def test_text_within_a_frame_damages_it_and_no_frame_is_made_up(sent, noise, place):
    data = b"".join(join(frame) for frame in sent)
    place %= len(data)
    decoder = Decoder(skip_noise=True)
    stream = join(HELLO) + data[:place] + noise + data[place:]
    got = []
    try:
        for frame in decoder.feed(stream):
            got.append(frame)
    except WireError:
        pass
    # Type and job have no checksum of their own; a wrong one is refused by the conversation.
    for one, other in zip(got[1:], sent, strict=False):
        assert (one.meta, bytes(one.payload)) == (other.meta, bytes(other.payload))
    assert len(got) <= 1 + len(sent)


@pytest.mark.parametrize("noise", [b"\0", b"GRM1\x02\0", b"x" * 70_000])
def test_what_is_no_text_or_too_much_of_it_ends_the_stream(noise):
    decoder = Decoder(skip_noise=True)
    assert len(list(decoder.feed(join(HELLO)))) == 1
    with pytest.raises(WireError) as caught:
        list(decoder.feed(noise + join(HELLO)))
    assert len(str(caught.value)) < 180
    assert str(caught.value).isprintable()


def test_a_stream_of_frames_alone_takes_no_noise():
    decoder = Decoder()
    assert len(list(decoder.feed(join(HELLO)))) == 1
    with pytest.raises(WireError, match=r"should begin: .printf debugging\.."):
        list(decoder.feed(b"printf debugging\n"))


def test_noise_is_bounded():
    decoder = Decoder(skip_noise=True)
    talk = (frame for _ in range(100) for frame in decoder.feed(b"login: " * 1000))
    with pytest.raises(WireError, match="no agent answered"):
        list(talk)


@pytest.mark.parametrize("length", [wire.MAX_PAYLOAD + 1, 2**32 - 1])
def test_an_impossible_length_is_refused_before_anything_is_kept(length):
    head = wire.HEADER.pack(wire.MAGIC, wire.IMAGES, 0, 1, 0, length, 0)
    with pytest.raises(WireError, match="announces"):
        list(Decoder().feed(head))


@pytest.mark.parametrize("meta", [b"[1]", b"{", b"\xff", b"[" * 60_000, b'{"a":' * 9000])
def test_meta_that_is_no_object_is_refused(meta):
    head = wire.HEADER.pack(wire.MAGIC, wire.BEAT, 0, 0, len(meta), 0, zlib.crc32(meta))
    with pytest.raises(WireError, match="meta"):
        list(Decoder().feed(head + meta))


def test_frames_too_large_are_not_sent():
    with pytest.raises(WireError, match="at most"):
        encode(Frame(wire.IMAGES, 1, {}, bytes(wire.MAX_PAYLOAD + 1)))
    with pytest.raises(WireError, match="at most"):
        encode(Frame(wire.ERROR, 1, {"message": "x" * wire.MAX_META}))


class Pair:
    """Both sides of a conversation; what one sends the other gets at once."""

    def __init__(self):
        self.head, self.agent = Conversation(is_agent=False), Conversation(is_agent=True)
        self.from_agent(Frame(wire.HELLO))
        self.from_head(Frame(wire.HELLO))

    def from_agent(self, frame):
        self.agent.sending(frame)
        return self.head.receiving(frame)

    def from_head(self, frame):
        self.head.sending(frame)
        return self.agent.receiving(frame)


def test_images_beyond_the_window_are_refused_on_both_sides():
    pair = Pair()
    pair.from_head(Frame(wire.EXTRACT, 1))
    pair.from_agent(Frame(wire.READY, 1, {"window": 100}))
    pair.from_head(Frame(wire.IMAGES, 1, {}, b"x" * 60))
    with pytest.raises(WireError, match="120 bytes of images, 100 were allowed"):
        pair.head.sending(Frame(wire.IMAGES, 1, {}, b"x" * 60))
    with pytest.raises(WireError, match="120 bytes of images, 100 were allowed"):
        pair.agent.receiving(Frame(wire.IMAGES, 1, {}, b"x" * 60))


def test_credit_comes_back_and_never_more_than_was_sent():
    pair = Pair()
    pair.from_head(Frame(wire.EXTRACT, 1))
    pair.from_agent(Frame(wire.READY, 1, {"window": 100}))
    for _ in range(5):
        pair.from_head(Frame(wire.IMAGES, 1, {}, b"x" * 100))
        pair.from_agent(Frame(wire.FEATURES, 1, {"credit": 100}))
    with pytest.raises(WireError, match="credit"):
        pair.head.receiving(Frame(wire.FEATURES, 1, {"credit": 1}))


def test_late_frames_of_an_ended_job_are_dropped():
    pair = Pair()
    pair.from_head(Frame(wire.EXTRACT, 7))
    pair.from_agent(Frame(wire.READY, 7, {"window": 10}))
    late = Frame(wire.IMAGES, 7, {}, b"x")
    pair.head.sending(late)
    pair.from_agent(Frame(wire.ERROR, 7))
    assert pair.agent.receiving(late) is False
    assert pair.agent.receiving(Frame(wire.CANCEL, 7)) is False
    with pytest.raises(WireError, match="no running job"):
        pair.head.sending(Frame(wire.IMAGES, 7, {}, b"x"))


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (Frame(wire.DONE, 1), "DONE of job 1 during job 0"),
        (Frame(wire.IMAGES, 1), "the agent may not send IMAGES"),
        (Frame(wire.HELLO), "the agent may not send HELLO"),
    ],
)
def test_what_an_agent_may_not_say_when_idle(frame, told):
    with pytest.raises(WireError, match=told):
        Pair().head.receiving(frame)


def test_jobs_do_not_overlap():
    pair = Pair()
    pair.from_head(Frame(wire.OPEN, 1))
    with pytest.raises(WireError, match="OPEN as job 2 during job 1"):
        pair.from_head(Frame(wire.OPEN, 2))
    with pytest.raises(WireError, match="TIMES within OPEN"):
        pair.from_agent(Frame(wire.TIMES, 1))


def test_a_job_is_ready_once():
    pair = Pair()
    pair.from_head(Frame(wire.EXTRACT, 1))
    pair.from_agent(Frame(wire.READY, 1, {"window": 10}))
    with pytest.raises(WireError, match="a second READY"):
        pair.head.receiving(Frame(wire.READY, 1, {"window": 10}))


def test_nothing_comes_before_hello():
    with pytest.raises(WireError, match="before HELLO"):
        Conversation(is_agent=True).receiving(Frame(wire.OPEN, 1))
    with pytest.raises(WireError, match="before HELLO"):
        Conversation(is_agent=False).receiving(Frame(wire.BEAT))


moves = st.builds(
    Frame,
    st.sampled_from(sorted(wire.NAMES)),
    st.integers(0, 2),
    st.sampled_from([{}, {"window": 40}, {"window": -1}, {"credit": 20}, {"credit": "x"}]),
    st.sampled_from([b"", b"x" * 20]),
)


@given(st.lists(st.tuples(st.booleans(), moves), max_size=30))
@settings(deadline=None, max_examples=60)
def test_a_conversation_refuses_or_stays_consistent(steps):
    talk = Conversation(is_agent=True)
    for by_agent, frame in steps:
        try:
            talk.sending(frame) if by_agent else talk.receiving(frame)
        except WireError:
            continue
        assert 0 <= talk.flying <= max(talk.window, 0)
        assert bool(talk.job) == bool(talk.kind)
