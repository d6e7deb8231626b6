"""Files reach a board whole, verified and in place, or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import BoardError, TransientError, UserError
from orchestrator.fleet.boards.deploying import (
    Deployed,
    check_python,
    deploy,
    remote_folder,
    remote_sha256,
)
from orchestrator.fleet.emulated.boards import EmulatedAddress, EmulatedFleet
from orchestrator.fleet.transport.channel import CommandResult
from orchestrator.fleet.transport.ssh import SshTransport
from tests.fleet.conftest import transport_to

DATA = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def own_board(fleet: EmulatedFleet) -> tuple[EmulatedAddress, Path]:
    return fleet.start("own"), fleet.state_dir / "own" / "home"


@pytest.fixture
def fresh(own_board: tuple[EmulatedAddress, Path]) -> Iterator[tuple[SshTransport, Path]]:
    """A board with an empty home, whose tools a test may replace; and that home."""
    place, home = own_board
    transport = transport_to(place)
    transport.connect(20)
    yield transport, home
    transport.close()
    for left in home.iterdir():
        if left.name != "bin":
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    for program in (home / "bin").iterdir():
        if program.name != "python3":
            program.unlink()


def tool(home: Path, name: str, script: str) -> None:
    """Put a program before the system's own on the board's PATH."""
    file = home / "bin" / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def bring(transport: Any, **changes: Any) -> Deployed:
    values: dict[str, Any] = {
        "remote_dir": "~/.farm/artifacts",
        "name": "model.onnx",
        "sha256": DIGEST,
        "timeout_s": 30,
        **changes,
    }
    return deploy(transport, values.pop("data", DATA), **values)


def files(home: Path) -> list[str]:
    folder = home / ".farm" / "artifacts"
    return sorted(os.listdir(folder)) if folder.exists() else []


def test_a_new_file_is_private_and_whole(fresh: tuple[SshTransport, Path]) -> None:
    transport, home = fresh
    told: list[int] = []
    assert bring(transport, progress=told.append) == Deployed(
        ".farm/artifacts/model.onnx", False, len(DATA)
    )
    file = home / ".farm" / "artifacts" / "model.onnx"
    assert file.read_bytes() == DATA
    for place, mode in ((file, 0o600), (file.parent, 0o700), (file.parent.parent, 0o700)):
        assert stat.S_IMODE(place.stat().st_mode) == mode
    assert told[-1] == len(DATA)
    assert files(home) == ["model.onnx"]


def test_a_file_that_is_there_is_not_sent_again(fresh: tuple[SshTransport, Path]) -> None:
    transport, home = fresh
    bring(transport)
    before = (home / ".farm/artifacts/model.onnx").stat().st_mtime_ns
    told: list[int] = []
    assert bring(transport, progress=told.append).skipped
    assert told == []
    assert (home / ".farm/artifacts/model.onnx").stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", [DATA[:-1], DATA[:-1] + b"\x00", b"", DATA + b"x"])
def test_a_file_that_is_there_but_wrong_is_replaced(
    fresh: tuple[SshTransport, Path], damage: bytes
) -> None:
    transport, home = fresh
    bring(transport)
    (home / ".farm/artifacts/model.onnx").write_bytes(damage)
    assert not bring(transport).skipped
    assert (home / ".farm/artifacts/model.onnx").read_bytes() == DATA


def test_a_local_file_can_be_brought(fresh: tuple[SshTransport, Path], tmp_path: Path) -> None:
    transport, home = fresh
    (tmp_path / "m").write_bytes(DATA)
    bring(transport, data=tmp_path / "m", mode=0o640)
    file = home / ".farm/artifacts/model.onnx"
    assert file.read_bytes() == DATA
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_content_that_is_not_what_was_announced_is_not_sent(
    fresh: tuple[SshTransport, Path],
) -> None:
    transport, home = fresh
    with pytest.raises(UserError, match="not the content"):
        bring(transport, data=DATA + b"x")
    assert files(home) == []


def test_a_board_that_damages_what_it_stores_is_found_out(
    fresh: tuple[SshTransport, Path],
) -> None:
    transport, home = fresh
    bring(transport, name="old", data=b"old", sha256=hashlib.sha256(b"old").hexdigest())
    put = transport.put

    def damaging(data: bytes, remote: str, **options: Any) -> None:
        put(data[:5000] + b"\xff" + data[5001:], remote, **options)

    transport.put = damaging  # type: ignore[method-assign]
    with pytest.raises(BoardError, match=r"stored .* wrongly"):
        bring(transport)
    assert files(home) == ["old"]


def test_a_file_that_cannot_be_put_in_place_is_told(fresh: tuple[SshTransport, Path]) -> None:
    transport, home = fresh
    tool(home, "mv", "echo 'mv: the file system is read-only' >&2; exit 1")
    with pytest.raises(BoardError, match=r"cannot put .*model\.onnx in place: mv: the file system"):
        bring(transport)
    assert files(home) == []


def test_a_file_costs_two_commands_beside_its_upload(fresh: tuple[SshTransport, Path]) -> None:
    transport, _ = fresh
    run, commands = transport.run, []

    def counted(command: str, **options: Any) -> CommandResult:
        commands.append(command)
        return run(command, **options)

    transport.run = counted  # type: ignore[method-assign]
    bring(transport)
    assert len(commands) == 2
    bring(transport)
    assert len(commands) == 3


def test_what_stood_there_stays_when_an_upload_fails(
    fresh: tuple[SshTransport, Path],
) -> None:
    transport, home = fresh
    bring(transport)
    other = b"other" * 1000

    def failing(data: bytes, remote: str, **options: Any) -> None:
        (home / remote).write_bytes(data[:100])
        raise TransientError("b: the link failed")

    transport.put = failing  # type: ignore[method-assign]
    with pytest.raises(TransientError):
        bring(transport, data=other, sha256=hashlib.sha256(other).hexdigest())
    assert files(home) == ["model.onnx"]
    assert (home / ".farm/artifacts/model.onnx").read_bytes() == DATA


def test_a_full_disk_is_told_before_anything_is_sent(fresh: tuple[SshTransport, Path]) -> None:
    transport, home = fresh
    header = "Filesystem 1024-blocks Used Available Capacity Mounted on"
    tool(home, "df", f"echo '{header}'; echo '/dev/mmc blk 7000 6500 500 93% /user data'")
    with pytest.raises(BoardError, match=r"2\.0 MiB needed, 0\.5 MiB free") as seen:
        bring(transport)
    assert "workdir" in seen.value.hint
    assert files(home) == []


def test_a_disk_that_fills_up_meanwhile_is_told(fresh: tuple[SshTransport, Path]) -> None:
    transport, home = fresh
    header = "Filesystem 1024-blocks Used Available Capacity Mounted on"
    tool(
        home,
        "df",
        f"echo '{header}'; if [ -e {home}/full ]; then echo '/dev/x 9 9 0 100% /'; "
        "else echo '/dev/x 9000000 9 8000000 1% /'; fi",
    )

    def filling(data: bytes, remote: str, **options: Any) -> None:
        (home / "full").touch()
        raise BoardError("b: the board did not take the file: Failure")

    transport.put = filling  # type: ignore[method-assign]
    with pytest.raises(BoardError, match=r"needed, 0\.0 MiB free"):
        bring(transport)


def test_a_board_without_a_useful_df_is_tried_anyway(fresh: tuple[SshTransport, Path]) -> None:
    transport, home = fresh
    tool(home, "df", "echo 'df: not here' >&2; exit 127")
    assert not bring(transport).skipped


@pytest.mark.parametrize("works", ["busybox", "openssl", "python3"])
def test_any_tool_that_hashes_will_do(fresh: tuple[SshTransport, Path], works: str) -> None:
    transport, home = fresh
    answers = {
        "sha256sum": "exit 127",
        "busybox": "exit 127",
        "openssl": "echo 'openssl: broken' >&2; exit 1",
    }
    answers.pop(works, None)
    for name, script in answers.items():
        tool(home, name, script)
    if works == "busybox":
        tool(home, "busybox", 'shift; exec python3 -c "' + HASH + '"')
    if works == "openssl":
        tool(home, "openssl", 'echo "SHA2-256(stdin)= $(exec python3 -c "' + HASH + '")"')
    (home / "f").write_bytes(DATA)
    assert remote_sha256(transport, "f", timeout_s=20) == DIGEST
    assert not bring(transport).skipped
    assert bring(transport).skipped


HASH = "import hashlib,sys;print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"


def test_a_board_that_cannot_hash_gets_nothing_in_place(
    fresh: tuple[SshTransport, Path],
) -> None:
    transport, home = fresh
    python = (home / "bin" / "python3").read_text()
    for name in ("sha256sum", "busybox", "openssl", "python3"):
        tool(home, name, "exit 127")
    (home / ".farm" / "artifacts").mkdir(parents=True)
    (home / ".farm" / "artifacts" / "model.onnx").write_bytes(DATA)
    with pytest.raises(BoardError, match="cannot compute the sha256") as seen:
        bring(transport)
    assert "busybox" in seen.value.hint
    with pytest.raises(BoardError, match="cannot compute the sha256"):
        bring(transport, name="new")
    assert files(home) == ["model.onnx"]
    (home / "bin" / "python3").write_text(python)


def test_the_hash_of_a_missing_file_is_none(board: SshTransport) -> None:
    assert remote_sha256(board, "no such file", timeout_s=20) is None


def test_noise_of_the_login_shell_is_not_taken_for_a_hash(board: SshTransport, home: Path) -> None:
    (home / "noisy-file").write_bytes(b"x")
    run = board.run
    wrong = hashlib.sha256(b"noise").hexdigest().encode()

    def noisy(command: str, **options: Any) -> CommandResult:
        result = run(command, **options)
        return CommandResult(result.status, wrong + b"\n" + result.stdout, result.stderr)

    board.run = noisy  # type: ignore[method-assign]
    right = hashlib.sha256(b"x").hexdigest()
    assert remote_sha256(board, "noisy-file", timeout_s=10) == right


def test_a_folder_that_cannot_be_made_is_told(fresh: tuple[SshTransport, Path]) -> None:
    transport, home = fresh
    (home / "file").write_text("in the way")
    with pytest.raises(BoardError, match="cannot make the folder file/below") as seen:
        bring(transport, remote_dir="file/below")
    assert "workdir" in seen.value.hint


NAMES = ["../evil", "a/b", "..", ".", "", "/etc/passwd", "a\nb", "a\0b", "x" * 300]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_leads_elsewhere_is_refused(board: SshTransport, name: str) -> None:
    with pytest.raises(UserError):
        bring(board, name=name)


@pytest.mark.parametrize("folder", ["", "a/../../b", "..", "~root/x", "/tmp/../etc", "a\nb", "\0"])
def test_a_folder_that_leads_elsewhere_is_refused(board: SshTransport, folder: str) -> None:
    with pytest.raises(UserError):
        bring(board, remote_dir=folder)


NASTY = ["$(touch pwned)", "`touch pwned`", "a; touch pwned", "-rf", "it's", 'say "hi"', "a b", "*"]


@pytest.mark.parametrize("nasty", NASTY)
def test_names_are_names_and_never_commands(fresh: tuple[SshTransport, Path], nasty: str) -> None:
    transport, home = fresh
    for _ in range(2):
        bring(transport, remote_dir=nasty, name=nasty)
    assert (home / nasty / nasty).read_bytes() == DATA
    assert sorted(os.listdir(home)) == sorted({nasty, "bin"})


@pytest.mark.parametrize(
    ("text", "means"),
    [("~", "."), ("~/.farm", ".farm"), ("/data/farm/", "/data/farm"), ("a//b", "a/b")],
)
def test_folders_are_below_the_login_directory_or_absolute(text: str, means: str) -> None:
    assert remote_folder(text) == means


def test_leftovers_of_broken_uploads_are_removed_in_time(
    fresh: tuple[SshTransport, Path],
) -> None:
    transport, home = fresh
    folder = home / ".farm" / "artifacts"
    folder.mkdir(parents=True)
    for name in ("old.part", "new.part", "old.onnx"):
        (folder / name).write_bytes(b"x")
    for name in ("old.part", "old.onnx"):
        os.utime(folder / name, (0, 0))
    bring(transport)
    assert files(home) == ["model.onnx", "new.part", "old.onnx"]


def test_two_uploads_at_once_do_not_mix(fresh: tuple[SshTransport, Path]) -> None:
    transport, home = fresh
    blobs = [bytes([number]) * 2_000_000 for number in range(4)]
    failed: list[BaseException] = []

    def work(blob: bytes) -> None:
        try:
            bring(transport, data=blob, sha256=hashlib.sha256(blob).hexdigest())
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(blob,)) for blob in blobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert (home / ".farm/artifacts/model.onnx").read_bytes() in blobs
    assert files(home) == ["model.onnx"]


def test_the_deadline_holds_for_the_whole(fresh: tuple[SshTransport, Path]) -> None:
    transport, home = fresh
    tool(home, "df", "exec sleep 60")
    with pytest.raises(TransientError):
        bring(transport, timeout_s=0.4)


def test_the_version_of_python_is_told(board: SshTransport) -> None:
    import platform

    assert check_python(board, "python3", 20) == platform.python_version()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (None, "no Python at"),
        ("echo 'Segmentation fault' >&2; exit 139", "Segmentation fault"),
        ("echo 'farm-python 2.7.18'", r"2\.7\.18 .* too old"),
        ("echo 'farm-python 3.5.10'", r"3\.5\.10 .* too old"),
        ("echo 'hello'", "no Python at"),
    ],
)
def test_a_board_without_a_fit_python_is_told(
    fresh: tuple[SshTransport, Path], script: str | None, words: str
) -> None:
    transport, home = fresh
    if script is not None:
        tool(home, "python9", script)
    with pytest.raises(BoardError, match=words) as seen:
        check_python(transport, "python9", 20)
    assert re.search("`python` of the board.s entry|unpack", seen.value.hint)


def test_python_3_6_is_enough_and_noise_is_overlooked(fresh: tuple[SshTransport, Path]) -> None:
    transport, home = fresh
    tool(home, "python9", "echo 'Welcome to Tina Linux'; echo 'farm-python 3.6.0'")
    assert check_python(transport, "python9", 20) == "3.6.0"


@pytest.mark.parametrize(
    ("prints", "says"),
    [
        (
            "yes garbage | head -c 90000",
            r"it says 'garbage garbage.{60,72}…' \(90000 bytes in all\)",
        ),
        ("head -c 90000 /dev/zero", r"it says 90000 bytes, none of them printable"),
        ("printf '\\033]0;title\\007\\033[31mred'", r"it says 'red' \(status 0\)"),
        ("exit 0", r"it says nothing \(status 0\)"),
    ],
)
def test_a_python_that_prints_garbage_is_quoted_in_eighty_characters(
    fresh: tuple[SshTransport, Path], prints: str, says: str
) -> None:
    transport, home = fresh
    tool(home, "garbage", prints)
    with pytest.raises(BoardError, match=says) as seen:
        check_python(transport, "garbage", 20)
    assert seen.value.message.isprintable()
    assert len(seen.value.message) < 200
