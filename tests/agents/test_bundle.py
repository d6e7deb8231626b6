"""The one file that goes to boards: the same code without its words, and light on every Python."""

import ast
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.fleet.boards.agent_bundle import _bundle, agent_bundle, bare

from .pipes import agent, interpreters, session

SOURCE = '''"""A module.

Over lines.
"""
# a comment
class A:
    """A class."""

    text = """
# no comment
"""

    def run(self):
        """Only words."""

    def go(self):
        """Words."""
        # why
        return 1  # trailing
'''


def without_words(source):
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            first.value = ast.Constant("")
    return ast.dump(tree)


def test_words_go_and_lines_stay():
    made = bare(SOURCE)
    assert without_words(made) == without_words(SOURCE)
    assert "Only words" not in made
    assert "# why" not in made
    assert made.splitlines()[-1] == "        return 1"
    assert "# no comment" in made
    assert len(made.splitlines()) == len(SOURCE.splitlines())


def test_the_agents_own_sources_keep_their_meaning():
    from importlib.resources import files

    for entry in files("orchestrator.agents").iterdir():
        if entry.name.endswith(".py"):
            source = entry.read_text()
            assert without_words(bare(source)) == without_words(source), entry.name


def test_boards_that_connect_at_once_get_one_bundle():
    _bundle.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: agent_bundle(), range(8)))
    assert all(each is made[0] for each in made)


PYTHONS = interpreters()


@pytest.mark.parametrize("version", [v for v in ("3.6", "3.13") if v in PYTHONS])
def test_the_session_is_light(tmp_path, version):
    """Without a runtime, which lives in a process of its own."""
    with agent(tmp_path, python=PYTHONS[version]) as channel, session(channel) as made:
        pid = made.hello().pid
        with open(f"/proc/{pid}/status") as file:
            fields = dict(line.split(":", 1) for line in file)
    assert int(fields["VmHWM"].split()[0]) < 20 * 1024
