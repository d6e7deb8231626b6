"""Environment variables: what Ray reads when it is imported, and what its workers get from farm."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""For BLAS in each task: there are as many of these as cores."""


def set_for_own_head(token_file: Path) -> None:
    """For a head that farm starts: on loopback only, behind a token of its own.

    Its workers inherit this process's environment, so that those which Ray starts ahead are of use.
    """
    _set_for_any()
    os.environ.update(
        ONE_THREAD,
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=str(token_file),
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
        # On a busy machine Ray's own helpers take longer than its 30 s, and the raylet gives up.
        RAY_agent_register_timeout_ms="180000",
        # Whoever comes before the raylet's socket is there tries again after a whole second.
        RAY_raylet_client_connect_timeout_milliseconds="25",
        RAY_raylet_client_num_connect_attempts="400",
    )
    # glibc keeps what is freed in an arena for every few threads; host actors have hundreds.
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    os.environ.pop("RAY_AUTH_TOKEN", None)


def set_for_joining(*, loopback: bool) -> None:
    """For a cluster that is there already; what the user set has precedence.

    Args:
        loopback: whether it is on this host's loopback.
    """
    _set_for_any()
    usual = {
        "RAY_AUTH_MODE": "token",
        # How long a wrong token, and a host that is no node, are tried for, in seconds.
        "RAY_NUM_REDIS_GET_RETRIES": "5",
        "RAY_gcs_server_request_timeout_seconds": "20",
    }
    if loopback:
        # Else Ray takes 127.0.0.1 for this host's outward address, where nothing listens.
        usual["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    for name, value in usual.items():
        os.environ.setdefault(name, value)


def _set_for_any() -> None:
    os.environ.update(
        RAY_USAGE_STATS_ENABLED="0",
        RAY_SCHEDULER_EVENTS="0",
        RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
    )
    os.environ.pop("RAY_ADDRESS", None)


def worker_environment() -> dict[str, Any]:
    """Ray runtime environment of farm's tasks in a cluster that others started."""
    return {"env_vars": ONE_THREAD | farm_variables()}


def farm_variables() -> dict[str, str]:
    """What of this process's environment farm and its toolchains go by.

    A cluster's workers have that of whoever started the cluster.
    """
    named = ("PATH", "HOME", "XDG_DATA_HOME", "TMPDIR", "SSH_AUTH_SOCK")
    return {k: v for k, v in os.environ.items() if k.startswith("FARM_") or k in named}
