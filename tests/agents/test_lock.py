"""The board's lock: one for all users of a machine, wherever each keeps his files."""

import json
import os
import signal
import subprocess
import sys

import pytest

from orchestrator.agents.host import processes
from orchestrator.agents.locking import lock, lockfile
from orchestrator.agents.protocol.errors import AgentError
from orchestrator.errors import TransientError

from .pipes import PYTHON, agent, bundle_file, end_lease, session


@pytest.fixture
def machine(tmp_path):
    """A root with the usual places for locks, and two users' workdirs."""
    for name in ("run/lock", "dev/shm"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name).chmod(0o1777)
    for name in ("one", "two"):
        (tmp_path / name).mkdir(mode=0o700)
    return tmp_path


def at(machine, name, **more):
    return agent(machine / name, extra=f"--root {machine}", lock="board", **more)


def command(machine, name, *words):
    folder = machine / name
    words += ("--workdir", folder, "--lock", "board", "--root", machine, "--board", "vim3")
    told = subprocess.run(
        [PYTHON, bundle_file(folder), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    return told.returncode, told.stdout, told.stderr


def test_two_orchestrators_with_their_own_workdirs_exclude_each_other(machine):
    with at(machine, "one", owner="alice") as first, session(first) as made:
        own = made.hello().pid
        with at(machine, "two", owner="bob") as second, session(second) as refused:
            with pytest.raises(TransientError, match="in use by alice since"):
                refused.hello()
        told = json.loads(command(machine, "two", "who")[1])
        assert (told["owner"], told["pids"][0][0]) == ("alice", own)
        assert told["lease_left_s"] > 0
        assert command(machine, "two", "wipe")[0] == 3
        status, out, _ = command(machine, "two", "release", "--reason", "mine at noon")
        assert (status, json.loads(out)["released"]["owner"]) == (0, "alice")
        assert processes.wait_gone([(own, processes.start_time(own))], 20.0)
    assert command(machine, "two", "who")[1] == "{}\n"
    assert (machine / "run/lock" / lockfile.SHARED_FILE).stat().st_mode & 0o777 == 0o666


def test_boards_that_are_one_machine_do_not_exclude_each_other(machine):
    with agent(machine / "one") as first, session(first) as made:
        made.hello()
        with agent(machine / "two") as second, session(second) as other:
            other.hello()
    assert not list((machine / "run/lock").iterdir())


def test_a_stopped_agent_of_another_workdir_is_killed_when_its_lease_has_ended(machine):
    with at(machine, "one") as first, session(first) as made:
        pid = made.hello().pid
        own = (pid, processes.start_time(pid))
        os.kill(pid, signal.SIGSTOP)
        with at(machine, "two") as second, session(second) as refused:
            with pytest.raises(TransientError, match="in use by"):
                refused.hello()
        end_lease(machine / "run/lock" / lockfile.SHARED_FILE)
        with at(machine, "two") as second, session(second) as now:
            now.hello()
            assert processes.wait_gone([own], 10.0)


def test_an_agent_from_before_the_boards_own_lock_is_respected(machine):
    """It knows the workdir's file alone."""
    with agent(machine / "one", owner="old farm") as first, session(first) as made:
        made.hello()
        with at(machine, "one") as second, session(second) as refused:
            with pytest.raises(TransientError, match="in use by old farm"):
                refused.hello()


def test_all_users_choose_the_same_folder(machine, monkeypatch):
    assert lockfile.shared_folder(str(machine)) == str(machine / "run/lock")
    (machine / "run/lock").chmod(0o755)  # root could still write here, another user could not
    assert lockfile.shared_folder(str(machine)) == str(machine / "dev/shm")
    (machine / "dev/shm").chmod(0o777)  # anybody could remove another's lock
    assert lockfile.shared_folder(str(machine)) is None
    assert lockfile.paths("/w", "board", str(machine)) == ["/w/board.lock"]
    monkeypatch.setenv(lockfile.ENVIRONMENT, "/locks")
    assert lockfile.paths("/w", "board", "/")[0] == "/locks/farm-board.lock"
    assert lockfile.paths("/w", "workdir", "/") == ["/w/board.lock"]


@pytest.mark.parametrize("trap", ["symlink", "hard link", "fifo"])
def test_a_trap_is_not_walked_into(machine, trap):
    victim = machine / "victim"
    victim.write_text("precious")
    path = machine / "run/lock" / lockfile.SHARED_FILE
    if trap == "symlink":
        path.symlink_to(victim)
    elif trap == "hard link":
        path.hardlink_to(victim)
    else:
        os.mkfifo(path)
    held = lock.BoardLock([str(path)], "vim3", "alice", "", 5.0)
    with pytest.raises(AgentError, match="lock file") as caught:
        held.acquire(take_over=True)
    assert caught.value.kind == "board"
    assert victim.read_text() == "precious"


def test_a_process_of_another_start_time_is_never_killed(machine):
    path = str(machine / "run/lock" / lockfile.SHARED_FILE)
    code = (
        "import fcntl, os, sys, time; fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o666);"
        "fcntl.flock(fd, fcntl.LOCK_EX); print(1, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as holder:
        holder.stdout.read(1)
        start = processes.start_time(holder.pid)
        record = {"owner": "eve", "boot": lock._boot_id(), "until": 0.0}
        mine = lock.BoardLock([path], "vim3", "bob", "", 5.0)
        for pids in ([[holder.pid, start - 1]], [[holder.pid, True]], [[os.getpid(), 1]], "all"):
            with open(path, "w") as file:
                json.dump({**record, "pids": pids}, file)
            with pytest.raises(AgentError, match="in use by eve"):
                mine.acquire(take_over=True)
            assert holder.poll() is None
        with open(path, "w") as file:
            json.dump({**record, "pids": [[holder.pid, start]]}, file)
        mine.acquire(take_over=True)
        mine.release()
        assert holder.wait(2.0) == -signal.SIGKILL


def test_a_file_removed_while_it_is_held_lets_nobody_in_twice(machine, monkeypatch):
    """Who waited for the removed file locks its successor instead."""
    path = machine / "run/lock" / lockfile.SHARED_FILE
    first = lock.BoardLock([str(path)], "vim3", "alice", "", 5.0)
    first.acquire(False)
    second = lock.BoardLock([str(path)], "vim3", "bob", "", 5.0)

    def removed_meanwhile(self, fd, name, take_over):
        if first.fds:
            path.unlink()
            first.release()
        original(self, fd, name, take_over)

    original = lock.BoardLock._take
    monkeypatch.setattr(lock.BoardLock, "_take", removed_meanwhile)
    second.acquire(False)
    assert lockfile.in_place(second.fds[0], str(path))
    second.release()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which takes root")
def test_another_user_is_told_and_cannot_end_it(machine):
    for folder in [machine, *machine.parents]:
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 1:
            folder.chmod(folder.stat().st_mode | 0o011)
        if folder.name == "tmp":
            break
    nobody = 65534
    held = lock.BoardLock(
        lockfile.paths(str(machine / "one"), "board", str(machine)), "vim3", "root's run", "", 5.0
    )
    held.acquire(False)
    code = (
        "import os, sys; from orchestrator.agents.locking import lock, lockfile\n"
        f"os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})\n"
        "paths = lockfile.paths(sys.argv[2], 'board', sys.argv[1])\n"
        "print(lock.who(paths)['owner'])\n"
        "mine = lock.BoardLock(paths, 'vim3', 'guest', 'noon', 5.0)\n"
        "try: mine.acquire(True)\n"
        "except Exception as error: print(error)\n"
        "else: print('taken', len(mine.fds))\n"
    )
    (machine / "two").chmod(0o777)

    def as_nobody():
        words = [sys.executable, "-c", code, machine, machine / "two"]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=20)

    told = as_nobody()
    assert told.stdout.startswith("root's run\n"), told.stderr
    assert "in use by root's run" in told.stdout
    assert "only root or the user with the number 0 can end that" in told.stdout
    held.release()
    code = code.replace("print(lock.who(paths)['owner'])", "print(lock.who(paths))")
    assert as_nobody().stdout == "{}\ntaken 2\n"
