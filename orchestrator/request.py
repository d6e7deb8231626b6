"""What a person asks of a run, as plain values: it travels from the console to the driver process.

Imports nothing heavy, so that a driver process can be started first thing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.errors import UserError

LOCAL = "local"
_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>\d+)")
_HINT = "expected HOST:PORT, as `ray start --head` says it (port 6379 unless it was told another)"


@dataclass(frozen=True)
class Request:
    """What a person asked for.

    Attributes:
        matrix, inventory: the files.
        state: farm's own folder (store, emulated boards, tokens).
        runs: where runs are kept.
        only: names of rows, entries or boards; empty for all.
        limit: only so many gallery identities, the probes in proportion; the run is partial.
        ray_address: a Ray cluster to join, HOST:PORT; empty for a head of farm's own.
        called: what the matrix is called where it was sent from; empty where it lies here.
    """

    matrix: str
    inventory: str
    state: str
    runs: str
    only: tuple[str, ...] = ()
    limit: int | None = None
    ray_address: str = ""
    called: str = ""

    def joining(self, address: str | None) -> Request:
        """The request with another cluster: `local` or nothing for none, None as it is.

        Raises:
            UserError: no address.
        """
        if address is None:
            return self
        if address in ("", LOCAL):
            return replace(self, ray_address="")
        parse_address(address)
        return replace(self, ray_address=address)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, the inverse of `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Request:
        """The request that `to_json` wrote."""
        return cls(**{**data, "only": tuple(data["only"])})


def parse_address(text: str) -> tuple[str, int]:
    """A cluster's address as host and port.

    Raises:
        UserError: it is no such thing.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None or not 0 < int(found["port"]) < 65536:
        what = f"no address of a Ray cluster: {text[:80]!r}"
        if text.startswith("ray://"):
            what += " (Ray Client is not for this: the run's driver is on a node of the cluster)"
        raise UserError(what, _HINT)
    return found["six"] or found["host"], int(found["port"])


def find_inventory(matrix: str, named: str | None) -> str:
    """The inventory: the one named, else the one beside the matrix, else the one in this folder.

    Raises:
        UserError: there is none.
    """
    if named is not None:
        return named
    places = [Path(matrix).parent / "device_inventory.yaml", Path("device_inventory.yaml")]
    for place in places:
        if place.is_file():
            return str(place)
    raise UserError(
        f"no device_inventory.yaml beside {matrix} or in this folder",
        "name one with --inventory FILE",
    )
