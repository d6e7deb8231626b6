"""Lists of identities: one form for the whole file, or refused."""

from __future__ import annotations

import pytest

from orchestrator.scoring import ScoringError, read_identities


def read(tmp_path, text):
    (tmp_path / "list.txt").write_text(text)
    return read_identities(tmp_path / "list.txt")[0].tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ann\nbob\n", ["ann", "bob"]),
        ("a/1.png ann\nb/2.JPG bob\n", ["ann", "bob"]),
        ("a/1.png Ann Lee\nb/my face.jpg Bob Ray\n", ["Ann Lee", "Bob Ray"]),
        ("a/1 x\tAnn Lee\nb/2\tBob\n", ["Ann Lee", "Bob"]),
        ("identity\nAnn Lee\nAnn Ray\n", ["Ann Lee", "Ann Ray"]),
        ("image,identity\na.png,Ann Lee\n", ["Ann Lee"]),
        ("ann.png\nbob.png\n", ["ann.png", "bob.png"]),
    ],
)
def test_one_form_for_the_whole_file(tmp_path, text, expected):
    assert read(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ann Lee\nAnn Ray\n", r":1: 'Ann Lee' may be one name with a space, or an image and"),
        ("bob\nAnn Lee\n", r":2: 'Ann Lee' may be one name"),
        ("a/1.png ann\nbob\n", r":2: 'image identity' expected as in other lines, got 'bob'"),
        ("a/1\tann\nbob\n", r":2: 'image identity' expected"),
    ],
)
def test_what_may_be_read_in_two_ways_is_refused(tmp_path, text, words):
    with pytest.raises(ScoringError, match=words):
        read(tmp_path, text)
