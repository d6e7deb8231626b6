"""A Buildroot-like board: the agent's tests there, and its row in a table.

Its root is read-only, with busybox and dropbear without SFTP, a Python without ctypes and ssl, and
no /dev/shm. `make test-userlands` runs the whole of the agent's tests there and in others.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.fleet.emulated.boards import ensure_key
from tests import busybox_board, userlands
from tests.run.project import HOST, Project, entry

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("apt-get", "dpkg-deb", "unshare", "chroot", "dropbear", "dropbearkey"),
    pytest.mark.skipif(os.geteuid() != 0, reason="makes a root of its own, which takes root"),
    pytest.mark.skipif(not userlands.WHEELS_FIT, reason="its wheels are this host's"),
]
QUICK = "timed or test_preprocess"
INT8 = "int8 per-channel symmetric, toolchain: onnxruntime"
BOARD = """\
  - name: busybox
    kind: host-cpu
    workdir: {workdir}
    transport:
      ssh: {{host: 127.0.0.1, port: {at.port}, user: root, key: {key}, host_key: {at.host_key}}}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it is built; it takes 10 s."""
    folder = tmp_path_factory.mktemp("busybox")
    busybox_board.build(folder)
    return folder


def test_the_agent_in_a_buildroot_like_root(root: Path) -> None:
    """What is quick of its tests."""
    words = ("-q", "-o", "addopts=", "-p", "no:cacheprovider", "-k", QUICK)
    assert userlands.run("busybox", root, *words) == 0


def test_rows_of_a_board_that_has_next_to_nothing(root: Path, tmp_path: Path) -> None:
    """Where nothing can be written it says what to type; then its features are this host's."""
    key, folder = tmp_path / "key", tmp_path / "run"
    folder.mkdir()
    project = Project(folder)
    with busybox_board.running(root, ensure_key(key)) as at:
        entries = entry("this-host", INT8) + entry("busybox", INT8)
        for workdir in ("~/.farm", "/tmp/farm"):
            boards = HOST + BOARD.format(workdir=workdir, at=at, key=key)
            project.write(entries, boards, identities=6, unknown=2)
            if workdir == "~/.farm":
                checked = project.farm("boards", "check", "busybox")
                assert checked.returncode == 1, checked.stdout + checked.stderr
                assert "Read-only file system" in checked.stdout
                assert "`workdir` of the board's entry" in checked.stdout
        ended = project.farm("run")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = project.cells()
    assert rows["busybox"]["executed_by"] == "board"
    for role in ("gallery", "probe"):
        here, there = (
            project.held("extract", rows[name]["provenance"]["keys"][role]) / "features.npy"
            for name in ("this-host", "busybox")
        )
        assert here.read_bytes() == there.read_bytes()
