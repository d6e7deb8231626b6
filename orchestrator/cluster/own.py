"""A local Ray head that is on loopback only, asks for a token, and stays quiet.

Called in the driver process, whose stdout and stderr already go to the run's log file: every byte
that Ray or its workers print lands there.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import secrets
import shutil
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any

from orchestrator.cluster.interfaces import Level
from orchestrator.cluster.watch import HeadWatch
from orchestrator.errors import TransientError, UserError
from orchestrator.specs.inventory import Board

STARTS = 2
OBJECT_STORE_BYTES = 512 << 20
# The kernel's (unix(7): sun_path has 108 bytes with its zero).
LONGEST_SOCKET = 107


class RayDown(TransientError):
    """Ray did not come up on this host: no board's fault."""


class NodeLost(RayDown):
    """A site has no node of the cluster (any more): no board's fault."""


class LocalRay:
    """Starts Ray in the background, so that the work that needs no Ray can begin meanwhile."""

    def __init__(self, state_dir: Path, cpus: int) -> None:
        self._state_dir, self.cpus = state_dir, cpus
        self.folder = os.getcwd()
        self.notes: list[tuple[Level, str]] = []
        self._watch = HeadWatch()
        self._error: BaseException | None = None
        self._ready = threading.Event()
        self._stopped = threading.Event()
        self._temp = _temp_folder()
        self._thread = threading.Thread(target=self._start, name="ray-start", daemon=True)
        _environment(_token_file(state_dir))

    def start(self) -> None:
        """Begin starting; returns at once."""
        self._thread.start()

    def wait(self, timeout_s: float = 300.0) -> None:
        """Wait until Ray is up.

        Raises:
            RayDown: it did not come up, or not on loopback.
        """
        if not self._ready.wait(timeout_s):
            raise RayDown(
                f"Ray did not start within {timeout_s:.0f} s",
                "see driver.log in the run's folder; `farm resume` tries again",
            )
        if self._error is not None:
            raise RayDown(
                f"Ray did not start: {self._error}",
                "see driver.log in the run's folder; `farm resume` tries again",
            ) from self._error

    def _start(self) -> None:
        try:
            from orchestrator.cluster import ray_patches

            ray_patches.without_metadata_request()
            ray_patches.with_patience()
            import ray

            self._init()
            check_loopback(ray.get_runtime_context().gcs_address)
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()
        # Ray's processes die with the thread that started them (prctl PDEATHSIG), so it stays.
        self._stopped.wait()

    def _init(self) -> None:
        """Start Ray; on a busy machine it may give itself up after 30 s, so it is asked again."""
        import ray

        for attempt in range(STARTS):
            try:
                ray.init(
                    num_cpus=self.cpus,
                    include_dashboard=False,
                    log_to_driver=True,
                    logging_level=logging.ERROR,
                    object_store_memory=OBJECT_STORE_BYTES,
                    _temp_dir=str(self._temp),
                    configure_logging=True,
                )
                return
            except Exception:
                if attempt == STARTS - 1 or self._stopped.is_set():
                    raise
                traceback.print_exc()
                ray.shutdown()

    @property
    def up(self) -> bool:
        """Whether it has started."""
        return self._ready.is_set() and self._error is None

    def ended(self) -> TransientError | None:
        """What is said when a process of the head has ended."""
        name = self._watch.ended() if self.up else ""
        if not name:
            return None
        return RayDown(
            f"Ray's {name} process on this host ended, so this run cannot go on",
            "`farm resume` goes on from what is finished; was memory short? see driver.log",
        )

    def here(self) -> dict[str, Any]:
        """Options of what computes: it has one node."""
        return {}

    def site_of(self, board: Board) -> str:
        """All boards are driven from this host."""
        return ""

    def node_of(self, site: str) -> str:
        """It has one node."""
        return ""

    def at(self, node_id: str) -> dict[str, Any]:
        """Options of a host actor: it has one node."""
        return {}

    def doubt(self, node_id: str) -> None:
        """It is there, or all of Ray has ended."""

    def lost(self, node_id: str) -> bool:
        """Never: it is there, or all of Ray has ended."""
        return False

    def words(self, node_id: str) -> str:
        """The one node for a person."""
        return "this host"

    def stop(self) -> None:
        """Shut Ray down and remove its folder."""
        self._ready.wait(20)
        import ray

        if ray.is_initialized():
            ray.shutdown()
        self._stopped.set()
        shutil.rmtree(self._temp, ignore_errors=True)


def check_loopback(address: str) -> None:
    """Refuse a Ray that other machines could reach: whoever reaches it runs code.

    Raises:
        TransientError: `address` (host:port) is not a loopback address.
    """
    host = address.rpartition(":")[0].strip("[]")
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise TransientError(
            f"Ray listens on {address}, not on loopback only, so it was stopped",
            "this Ray version ignores RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0: use the pinned one",
        )


def _environment(token_file: Path) -> None:
    # Read by Ray when it is imported, so they must be set before.
    os.environ.update(
        RAY_USAGE_STATS_ENABLED="0",
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=str(token_file),
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
        RAY_SCHEDULER_EVENTS="0",
        RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
        # On a busy machine Ray's own helpers take longer than its 30 s, and the raylet gives up.
        RAY_agent_register_timeout_ms="180000",
    )
    # glibc keeps what is freed in an arena for every few threads; host actors have hundreds.
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    os.environ.pop("RAY_ADDRESS", None)
    os.environ.pop("RAY_AUTH_TOKEN", None)


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


def worker_environment() -> dict[str, Any]:
    """Ray runtime environment of farm's tasks: one BLAS thread each, as many tasks as cores."""
    return {
        "env_vars": {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **farm_variables()},
    }


def farm_variables() -> dict[str, str]:
    """What of this process's environment farm and its toolchains go by.

    A cluster's workers have that of whoever started the cluster.
    """
    named = ("PATH", "HOME", "XDG_DATA_HOME", "TMPDIR", "SSH_AUTH_SOCK")
    return {k: v for k, v in os.environ.items() if k.startswith("FARM_") or k in named}
