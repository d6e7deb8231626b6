"""What the user's `ssh` makes of a name is what farm makes of it."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.fleet.transport import openssh_config
from orchestrator.fleet.transport.openssh_config import Target, parse_target, resolved
from orchestrator.fleet.transport.openssh_files import hosts

Written = Callable[[str], Path]
ME = getpass.getuser()


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(text: str, name: str = "config") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def target(name: str, config: Path, **more: str) -> Target:
    return resolved(parse_target(name), config, **more)


@pytest.mark.needs("ssh")
def test_included_files_count(written: Written, tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    written("Host rock.lab\n  HostName 10.0.0.9\n  Port 2222\n  User anna\n", "lab/one")
    written("Host other\n  HostName 10.0.0.8\n", "lab/two")
    config = written(f"Include {tmp_path}/lab/*\nHost *\n  Port 23\n")
    assert target("rock.lab", config) == Target("10.0.0.9", 2222, "anna")
    assert target("other", config) == Target("10.0.0.8", 23)
    assert hosts(config) == ["rock.lab", "other"]


@pytest.mark.needs("ssh")
def test_match_wildcards_and_negation(written: Written) -> None:
    config = written(
        "Match host *.lab user anna\n  Port 33\n"
        "Host *.lab !bad.lab\n  HostName %h.example\n  User anna\n"
        "Host *\n  Port 44\n"
    )
    assert target("x.lab", config) == Target("x.lab.example", 44, "anna")
    assert target("anna@x.lab", config) == Target("x.lab.example", 33, "anna")
    assert target("bad.lab", config) == Target("bad.lab", 44)
    assert target("x.lab:55", config).port == 55
    assert target(f"{ME}@bad.lab", config).user == ME


@pytest.mark.needs("ssh")
def test_key_files_are_those_that_are_configured(written: Written, tmp_path: Path) -> None:
    (tmp_path / "id_anna_10.0.0.9").write_text("a key\n")
    config = written(
        "Host board\n  HostName 10.0.0.9\n  User anna\n"
        f"  IdentityFile {tmp_path}/none\n  IdentityFile {tmp_path}/id_%r_%h\n"
    )
    assert target("board", config).key == f"{tmp_path}/id_anna_10.0.0.9"
    # What `ssh` tries by itself is no choice of the user's, whether it is there or not.
    assert target("else", config).key is None


@pytest.mark.needs("ssh")
def test_the_way_there(written: Written) -> None:
    config = written(
        "Host gate\n  HostName 10.0.0.1\n  User g\n"
        "Host far\n  ProxyJump gate,h@10.0.0.2:24\n"
        "Host old\n  ProxyCommand ssh -W %h:%p gate\n"
        "Host no\n  ProxyJump none\n"
        "Host strange\n  ProxyCommand nc %h %p\n"
    )
    gate, second = Target("10.0.0.1", 22, "g"), Target("10.0.0.2", 24, "h")
    assert target("far", config).jump == (gate, second)
    assert target("old", config).jump == (gate,)
    assert target("no", config).jump == ()
    assert target("strange", config, jump="gate").jump == (gate,)
    with pytest.raises(UserError, match="ProxyCommand nc %h %p, which farm does not run"):
        target("strange", config)


@pytest.mark.parametrize(
    "line",
    [
        'Match exec "touch {owned}"',
        'match !EXEC "touch {owned}"',
        'Match host a exec "touch {owned}"',
        '"Match" exec "touch {owned}"',
        'Match=exec "touch {owned}"',
    ],
)
@pytest.mark.parametrize("included", [False, True])
def test_nothing_is_run(written: Written, tmp_path: Path, line: str, included: bool) -> None:
    owned = tmp_path / "owned"
    text = f"{line.format(owned=owned)}\n  User x\nHost a\n  HostName 127.0.0.1\n"
    config = written(text)
    if included:
        config = written(f"Include {config}\n", "outer")
    with pytest.raises(UserError, match="`Match exec` would run a command"):
        target("a", config)
    assert not owned.exists()


@pytest.mark.needs("ssh")
def test_what_was_overlooked_runs_nothing_either(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned = tmp_path / "owned"
    config = written(f'Match exec "touch {owned}"\n  User x\n')
    monkeypatch.setattr(openssh_config, "refuse_exec", lambda _: False)
    assert target("a", config).user is None
    assert not owned.exists()


@pytest.mark.needs("ssh")
def test_mistakes_are_told(written: Written, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Bad configuration option: foo"):
        target("a", written("Foo bar\n"))
    with pytest.raises(UserError, match="depends on variables"):
        target("a", written("Include %d/x\n"))
    loop = written(f"Include {tmp_path}/config\n")
    with pytest.raises(UserError, match="files deep"):
        target("a", loop)
    written("ProxyJump b\n", "b")
    with pytest.raises(UserError, match="jumps over more than 5 hosts"):
        target("a", written("Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n"))
    assert target("a", tmp_path / "missing") == Target("a", 22)


def test_without_ssh_paramikos_parser_answers_and_says_what_it_cannot(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openssh_config.shutil, "which", lambda _: None)
    config = written("Host a\n  HostName 10.0.0.9\n  Port 2222\n  User anna\n  ProxyJump g\n")
    assert target("a", config) == Target("10.0.0.9", 2222, "anna", None, (Target("g", 22),))
    with pytest.raises(UserError, match="there is no `ssh` here"):
        target("a", written("Include other\n"))


@pytest.mark.needs("ssh")
def test_a_name_server_that_does_not_answer_has_a_deadline(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "ssh"
    slow.write_text("#!/bin/sh\nexec sleep 20\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(openssh_config, "ASK_S", 0.3)
    with pytest.raises(UserError, match=r"did not end within 0\.3 s"):
        target("a", written("Host a\n"))


def test_a_plain_list_of_hosts(written: Written) -> None:
    assert hosts(written("# mine\nanna@a:22  # one\n\nb\nb\n")) == ["anna@a:22", "b"]
    with pytest.raises(UserError, match="names no host"):
        hosts(written("Host *\n"))
