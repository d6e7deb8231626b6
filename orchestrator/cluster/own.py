"""A Ray cluster of one node that farm starts for a run: on loopback only, behind a token, quiet.

Used in the driver process, whose stdout and stderr already go to the run's log file: every byte
that Ray or its workers print lands there.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
import traceback
from pathlib import Path

from orchestrator.cluster import environment
from orchestrator.cluster.errors import RayDown
from orchestrator.cluster.nodes import is_loopback
from orchestrator.cluster.printed import Printed
from orchestrator.errors import TransientError, UserError

STARTS = 2
HINT = "see driver.log in the run's folder; `farm resume` tries again"
OBJECT_STORE_BYTES = 512 << 20
# The kernel's (unix(7): sun_path has 108 bytes with its zero).
LONGEST_SOCKET = 107


class OwnHead:
    """The way into a cluster that is started for this run, and ends with it.

    Args:
        state: farm's own folder, where its token is.
        cpus: how many computing tasks it runs at once.
    """

    shared = False
    within_s = 300.0

    def __init__(self, state: Path, cpus: int) -> None:
        self._cpus = cpus
        self._temp = _temp_folder()
        self._printed: Printed | None = None
        environment.set_for_own_head(_token_file(state))

    @property
    def late(self) -> RayDown:
        """What is said when it takes too long."""
        return RayDown(f"Ray did not start within {self.within_s:.0f} s", HINT)

    def enter(self) -> str:
        """Start Ray and join it; its address (IP:port).

        Raises:
            RayDown: it did not come up, or not on loopback.
        """
        try:
            from orchestrator.cluster import ray_patches

            ray_patches.without_metadata_request()
            ray_patches.without_autoscaler()
            ray_patches.with_patience()
            ray_patches.with_haste()
            alone = ray_patches.without_log_monitor()
            import ray

            self._init()
            if alone:
                self._printed = Printed(self._temp / "session_latest" / "logs")
            address: str = ray.get_runtime_context().gcs_address
            check_loopback(address)
        except BaseException as error:
            raise RayDown(f"Ray did not start: {error}", HINT) from error
        return address

    def _init(self) -> None:
        """Start Ray; on a busy machine it may give itself up after 30 s, so it is asked again."""
        import ray

        for attempt in range(STARTS):
            try:
                ray.init(
                    num_cpus=self._cpus,
                    include_dashboard=False,
                    log_to_driver=True,
                    logging_level=logging.ERROR,
                    object_store_memory=OBJECT_STORE_BYTES,
                    _temp_dir=str(self._temp),
                    configure_logging=True,
                )
                return
            except Exception:
                if attempt == STARTS - 1:
                    raise
                traceback.print_exc()
                ray.shutdown()

    def leave(self) -> None:
        """Shut Ray down and remove its folder."""
        if self._printed is not None:
            self._printed.close()
        import ray

        ray.shutdown()
        shutil.rmtree(self._temp, ignore_errors=True)


def check_loopback(address: str) -> None:
    """Refuse a Ray that other machines could reach: whoever reaches it runs code.

    Raises:
        TransientError: `address` (host:port) is not a loopback address.
    """
    if not is_loopback(address):
        raise TransientError(
            f"Ray listens on {address}, not on loopback only, so it was stopped",
            "this Ray version ignores RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0: use the pinned one",
        )


def short_folder(given: str, process: int) -> str:
    """Where Ray's folder may lie: `given`, or where a socket's path in it is not too long.

    Raises:
        UserError: all of these are too long.
    """
    ours = f"/farm-ray-{process}-" + 8 * "x"
    rays = f"/session_2026-01-01_00-00-00_000000_{process}/sockets/plasma_store"
    for folder in (given, os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp", "/var/tmp"):
        fits = len(os.fsencode(folder + ours + rays)) <= LONGEST_SOCKET
        if folder and fits and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise UserError(
        f"Ray's sockets cannot lie in {given}: a socket's path has at most {LONGEST_SOCKET} bytes",
        f"set TMPDIR to a folder of at most {LONGEST_SOCKET - len(ours + rays)} bytes, such as "
        "/tmp",
    )


def _temp_folder() -> Path:
    """A new folder of ours; those of runs that were killed are removed."""
    root = Path(short_folder(tempfile.gettempdir(), os.getpid()))
    for old in root.glob("farm-ray-*-*"):
        owner = old.name.split("-")[2]
        gone = owner.isdigit() and not Path(f"/proc/{owner}").exists()
        if gone and old.stat().st_uid == os.getuid():
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"farm-ray-{os.getpid()}-", dir=root))


def _token_file(state_dir: Path) -> Path:
    path = state_dir / "ray-token"
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        path.chmod(0o600)
        return path
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(32))
    return path
