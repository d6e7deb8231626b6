"""Only plain, bounded YAML is read, and every refusal names the line."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import UserError
from orchestrator.specs import yamlfile
from orchestrator.specs.yamlfile import MAX_BYTES, nearest, read_yaml

ROOT = Path(__file__).resolve().parents[2]


def refused(tmp_path, text, name="x.yaml"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        read_yaml(path)
    return caught.value.message.replace(str(path), name)


def bomb():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: !!python/object/apply:os.system [id]\n", "x.yaml:2: the tag"),
        ("a: 1\nb: !Mine {c: 1}\n", "x.yaml:2: the tag '!Mine' is not allowed"),
        ("a:\n  - !!set {b}\n", "x.yaml:2: the tag '!!set' is not allowed"),
        ("a: !!binary aGk=\n", "x.yaml:1: the tag '!!binary' is not allowed"),
        ("a: 1\nb: 2\na: 3\n", "x.yaml:3: the key 'a' is defined twice (first on line 1)"),
        ("a:\n  b: 1\n  b: 1\n", "x.yaml:3: the key 'b' is defined twice (first on line 2)"),
        ("a: &a {b: 1}\nc:\n  <<: *a\n", "x.yaml:3: merge keys"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2: not valid YAML"),
        ("a: 1\n  b: 2\n", "x.yaml:2: not valid YAML"),
        ("a: [1, 2\n", "x.yaml:2: not valid YAML"),
        ("a: 1\n\tb: 2\n", "x.yaml:2: a tab; YAML is indented by spaces only"),
        ("a: *nobody\n", "x.yaml:1: not valid YAML"),
        ("a: \x07\n", "x.yaml:1: not valid YAML"),
        ("? [a, b]\n: 1\n", "x.yaml:1: a key must be plain text"),
        ("", "x.yaml:1: the file is empty"),
        ("# nothing\n", "x.yaml:1: the file is empty"),
        (b"a: 1\nb: \xff\n", "x.yaml:2: not UTF-8 text"),
        ("a: " + "[" * 5000, "nested more than 40 levels"),
        ("a: " + "[" * 60 + "]" * 60, "x.yaml:1: nested more than 40 levels"),
        ("a: &a [*a]\n", "nested more than 40 levels"),
        (bomb(), "unfolds to more than"),
        ("a: " + "x" * MAX_BYTES, "x.yaml:1: larger than 1 MiB"),
    ],
)
def test_refused_with_file_and_line(tmp_path, text, expected):
    assert expected in refused(tmp_path, text)


def test_several_problems_come_together(tmp_path):
    message = refused(tmp_path, "a: !x 1\nb: 1\nb: 2\n")
    assert message.splitlines()[0].startswith("x.yaml:1:")
    assert message.splitlines()[1].startswith("x.yaml:3:")


def test_missing_file_names_its_neighbour(tmp_path):
    (tmp_path / "matrix.yaml").write_text("a: 1")
    with pytest.raises(UserError, match=r"no such file; did you mean '.*/matrix.yaml'\?"):
        read_yaml(tmp_path / "matirx.yaml")


def test_folders_and_pipes_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    for name in (".", "pipe.yaml"):
        with pytest.raises(UserError, match="not a file"):
            read_yaml(tmp_path / name)


def test_numbers_words_and_lines(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "rate: 1e-3\nword: no\nday: 2024-01-02\nflag: true\nnone: ~\nsum: '0123'\nlist:\n"
        "  - 1\n  - 2.5\n"
    )
    data, source = read_yaml(path)
    assert data == {
        "rate": 1e-3,
        "word": "no",
        "day": "2024-01-02",
        "flag": True,
        "none": None,
        "sum": "0123",
        "list": [1, 2.5],
    }
    assert source.line(("list", 1)) == 9
    assert source.line(("list", 7, "deeper")) == 7


def test_few_aliases_are_fine(tmp_path):
    (tmp_path / "x.yaml").write_text("a: &a {b: 1}\nc: *a\n")
    assert read_yaml(tmp_path / "x.yaml")[0] == {"a": {"b": 1}, "c": {"b": 1}}


text = st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("äß漢\n"))
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(text.filter(bool), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(text.filter(bool), plain, min_size=1, max_size=5))
def test_json_is_read_as_json(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("yaml") / "x.yaml"
    path.write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")
    assert read_yaml(path)[0] == data


def read_by(path, *, libyaml):
    """What a file says, with its lines, or why it is refused, by one of the two parsers."""
    with pytest.MonkeyPatch.context() as patch:
        if not libyaml:
            patch.setattr(yamlfile, "_quickly_composed", lambda *_: None)
        yamlfile._composed.cache_clear()
        try:
            data, source = read_yaml(path)
        except UserError as error:
            return error.message, error.hint
        finally:
            yamlfile._composed.cache_clear()
    return repr(data), list(source.lines.items())


SEEDS = [
    "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
    for path in (*ROOT.glob("*.yaml"), *ROOT.glob("orchestrator/kinds/*.yaml"))
]
SLIPS = [
    *(
        "\n",
        " ",
        "  ",
        "\n  ",
        "\n- ",
        "- ",
        ": ",
        " #",
        "&a ",
        "! ",
        "<<: ",
        "\t",
        "\x85",
        "\u2028",
        "\r",
    ),
    *[
        ":",
        ",",
        "[",
        "]",
        "{",
        "}",
        "[]",
        "{}",
        "#",
        '"',
        "'",
        "''",
        "?",
        "*a",
        "!!str",
        "|",
        ">",
        "%",
        "@",
        "\\",
        "---",
        "...",
        "~",
        "null",
        "yes",
        "true",
    ],
    *["0o7", "07", "0x1f", "1_0", ".5", "1e3", "+1", "-", "1:30", "é"],
]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_libyaml_reads_what_the_other_parser_reads(tmp_path_factory, data):
    lines = data.draw(st.sampled_from(SEEDS)).splitlines()
    begin = data.draw(st.integers(0, len(lines) - 1))
    text = "\n".join(lines[begin : begin + data.draw(st.integers(1, 12))])
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(text)))
        gone = data.draw(st.integers(0, 3))
        text = text[:at] + data.draw(st.sampled_from(["", *SLIPS])) + text[at + gone :]
    path = tmp_path_factory.mktemp("yaml") / "x.yaml"
    path.write_bytes(text.encode())
    assert read_by(path, libyaml=True) == read_by(path, libyaml=False)


@pytest.mark.parametrize(
    "text",
    [
        *("a: [b:]", "{a:}", "a: [b?c]", "a: |\n  b", "a: >-\n\n  b\n", 'a: "b\\/c"', "a: \u2028"),
        *("%YAML 1.1\n---\na: yes", "--- a", "a: &b c", "a: !!str 1", "a: 1\r\nb: 2\r"),
        *("a:\n- b", "a: b\n---\nc: d", "- a\nb: c", "  a: b\nc: d", "a: 'b\n\n  c'"),
        *("a: b\n\n  c #d", "a: b#c"),
    ],
)
def test_what_the_two_parsers_might_read_differently(tmp_path, text):
    (tmp_path / "x.yaml").write_bytes(text.encode())
    path = tmp_path / "x.yaml"
    assert read_by(path, libyaml=True) == read_by(path, libyaml=False)


def test_the_projects_own_files_are_read_by_libyaml(monkeypatch):
    slow = []
    monkeypatch.setattr(yamlfile._BoundedComposer, "compose_node", lambda *_: slow.append(1))
    yamlfile._composed.cache_clear()
    for path in (ROOT / "matrix.yaml", ROOT / "device_inventory.yaml"):
        assert read_yaml(path)[0]
    assert not slow
    yamlfile._composed.cache_clear()


def test_nearest_word():
    assert nearest("imx8pm", ["imx8mp", "rv1126"]) == "; did you mean 'imx8mp'?"
    assert nearest("RV1126", ["imx8mp", "rv1126"]) == "; did you mean 'rv1126'?"
    assert nearest("zzz", ["b", "a"]) == "; valid: a, b"


def test_a_short_word_with_another_first_letter_is_no_slip():
    assert nearest("NPU", ("GPU", "ASIC", "CPU")) == "; valid: ASIC, CPU, GPU"
    assert nearest("shs", ("ssh", "local")) == "; did you mean 'ssh'?"
    assert nearest("gpu", ("GPU", "ASIC", "CPU")) == "; did you mean 'GPU'?"
