"""Marks find a command's own output whatever stands around it, in every login shell."""

from __future__ import annotations

import itertools
import shlex
import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.fleet.transport.marks import Answer, Marks
from tests.fleet.noisy import SHELLS, every_shell

# All that one shell or another reads in a way of its own, within single quotes too.
NASTY = (
    "it's \"quoted\" \\ \\' \\n !! !x $HOME `id` %d %% ~ *\t\n#no {a,b} \u00e9\u4e2d\x01\x7f &;|<>"
)


def run(shell: str, command: str, **more: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [*SHELLS[shell], "-c", command], capture_output=True, timeout=20, check=False, **more
    )


def answers(marks: Marks, done: subprocess.CompletedProcess[bytes]) -> tuple[bytes, bytes, object]:
    out, err = marks.answer(), marks.answer()
    said = out.feed(done.stdout), err.feed(done.stderr)
    assert out.status == err.status
    return (*said, out.status)


@every_shell
def test_a_command_reaches_sh_as_it_is_through_every_login_shell(shell: str) -> None:
    marks = Marks()
    command = f"printf %s {shlex.quote(NASTY)}; echo err >&2; cat; exit 7"
    done = run(shell, marks.around(command), input=b"in")
    assert answers(marks, done) == (NASTY.encode() + b"in", b"err\n", 7)
    assert done.returncode == 7


@every_shell
def test_a_long_command_of_many_lines_is_one(shell: str) -> None:
    marks = Marks()
    command = "\n".join(f"printf '%s\\n' 'line {n}, it is'" for n in range(80))
    out, err, status = answers(marks, run(shell, marks.around(command)))
    assert (out.count(b"\n"), err, status) == (80, b"", 0)


@every_shell
def test_what_is_spoken_to_has_a_mark_before_it(shell: str) -> None:
    marks = Marks()
    done = run(shell, marks.before("printf '%s\\n' \"it's\"; exec cat"), input=b"\0\1")
    out = marks.answer(ends=False)
    assert out.feed(b"Welcome" + done.stdout) == b"it's\n\0\1"
    assert out.skipped == len(b"Welcome")
    assert out.status is None


def test_a_shell_that_prints_what_it_runs_prints_no_mark() -> None:
    marks = Marks()
    sent = marks.around("echo out")
    traced = run("sh", f"set -x; echo {shlex.quote(sent)}; {sent}")
    out, err, status = answers(marks, traced)
    assert (out, err, status) == (b"out\n", b"", 0)


def test_a_command_that_sh_cannot_read_has_a_status_too() -> None:
    marks = Marks()
    out, err, status = answers(marks, run("sh", marks.around("echo 'unfinished")))
    assert (out, status) == (b"", 2)
    assert b"nterminated quoted string" in err


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


pieces = st.lists(
    st.one_of(
        st.binary(max_size=30), st.sampled_from([b"[farm:", b":", b":abc:", b":abc:12", b"]"])
    ),
    max_size=6,
).map(b"".join)


@settings(deadline=None)
@given(pieces, pieces, pieces, st.integers(0, 255), st.lists(st.integers(0, 400), max_size=8))
def test_any_split_of_any_noise(
    before: bytes, content: bytes, after: bytes, status: int, cuts: list[int]
) -> None:
    # What stands between is free of whole marks: they are random, and new for every command.
    content = content.replace(b":abc:", b"")
    whole = before + b"[farm:abc:" + content + b":abc:%d]" % status + after
    answer = Answer("abc", ends=True)
    assert b"".join(answer.feed(piece) for piece in split(whole, cuts)) == content
    assert answer.status == status
    marks = len(b"[farm:abc:") + len(b":abc:%d]" % status)
    assert answer.skipped == len(whole) - len(content) - marks
    assert before.startswith(answer.noise)


@settings(deadline=None)
@given(pieces, st.lists(st.integers(0, 400), max_size=8))
def test_a_stream_that_ends_early_loses_nothing(content: bytes, cuts: list[int]) -> None:
    content = content.replace(b":abc:", b"")
    answer = Answer("abc", ends=True)
    came = b"".join(answer.feed(piece) for piece in split(b"[farm:abc:" + content, cuts))
    assert came + answer.rest() == content
    assert not answer.ended


@given(st.binary(max_size=2000), st.lists(st.integers(0, 2000), max_size=8))
def test_without_a_mark_all_is_noise(noise: bytes, cuts: list[int]) -> None:
    answer = Answer("abc", ends=True)
    assert not any(answer.feed(piece) for piece in split(noise, cuts))
    assert answer.rest() == b""
    assert (answer.begun, answer.skipped) == (False, len(noise))
    assert answer.noise == noise[:400]
