"""The agent in other userlands than this host's; `make test-userlands` runs the whole of its tests.

Here is what is quick: a Buildroot-like root, in which the agent runs at full speed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import userlands

QUICK = "timed or test_preprocess"


@pytest.mark.slow
@pytest.mark.needs("apt-get", "dpkg-deb", "unshare", "chroot")
@pytest.mark.skipif(os.geteuid() != 0, reason="makes a root of its own, which takes root")
def test_in_a_buildroot_like_root(tmp_path: Path) -> None:
    """Read-only, without /dev/shm, ctypes and ssl; busybox beside it."""
    words = ("-q", "-o", "addopts=", "-p", "no:cacheprovider", "-k", QUICK)
    assert userlands.run("busybox", tmp_path, *words) == 0
