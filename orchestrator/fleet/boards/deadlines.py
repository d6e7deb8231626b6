"""How long a call to a board may take; `FARM_DEADLINES` lengthens or shortens each."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields, replace

from orchestrator.errors import UserError
from orchestrator.fleet.transport.deadline import ENVIRONMENT

# What `FARM_DEADLINES` does not change.
SIMULATOR_BUILD_S = 3600.0
"""A simulator builds the model first: minutes, an hour with the slowest calibrator."""
ADD_CONNECT_S = 20.0
"""Connecting to a board that is being added."""
PROBE_S = 30.0
"""The script that looks at a board that is being added."""
PROOF_OPEN_S, PROOF_RUN_S = 45.0, 20.0
"""Opening the tiny model by which a runtime is proved, and running it."""
PROOF_BUILD_S = 300.0
"""Building that model: a Jetson's first build loads the whole of TensorRT."""
PROOF_S = 300.0
"""All proofs of a board together, when it is leased."""
REBOOT_S = 15.0
"""A board's reboot command."""
POWER_S = 60.0
"""The program that switches a board's power."""
CONTROL_S = 5.0
"""A host actor's answer to what it does at once."""
HOST_GRACE_S = 30.0
"""Beyond the deadlines of a call to a board, when another node carries it out."""
NODE_PROBE_S = 60.0
"""The first answer of a cluster's nodes."""
FETCH_S = 300.0
"""Images that a node fetches from the driver."""


@dataclass(frozen=True)
class Deadlines:
    """How long each kind of remote call may take, in seconds; each message says which one ended.

    `build_s` is how long a board's runtime may build what it runs, beyond `open_s`. `transfer_s`
    is for one file; `silence_s` is how long a working agent may say nothing at all. `queue_s` is
    how long a run waits for a board that somebody else uses; `lost_s` is how long a board that was
    lost in the middle of a run is looked for before the run goes on without it. `convert_s` is how
    long a vendor's converter may take, on this host or on another; some get a share or a multiple.
    """

    connect_s: float = 20.0
    command_s: float = 30.0
    transfer_s: float = 600.0
    open_s: float = 120.0
    build_s: float = 1800.0
    silence_s: float = 10.0
    chunk_s: float = 120.0
    queue_s: float = 3600.0
    lost_s: float = 300.0
    convert_s: float = 3600.0

    @classmethod
    def from_environment(cls) -> Deadlines:
        """The defaults, with what the variable FARM_DEADLINES (a JSON object) says instead.

        Raises:
            UserError: it is no such object, or names no deadline, or a time is not above 0.
        """
        text = os.environ.get(ENVIRONMENT)
        if not text:
            return cls()
        names = [found.name for found in fields(cls)]
        hint = f'an object of {", ".join(names)} in seconds, such as {{"silence_s": 30}}'
        try:
            given = json.loads(text)
        except ValueError as error:
            raise UserError(f"{ENVIRONMENT} is not JSON: {error}", hint) from error
        for name, value in given.items() if isinstance(given, dict) else [(text, None)]:
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            seconds = float(value or 0) if number else 0.0
            if name not in names or not 0 < seconds < 1e9:
                raise UserError(f"{ENVIRONMENT}: {name!s:.80} cannot be {value!r:.80}", hint)
        return replace(cls(), **{name: float(value) for name, value in given.items()})

    @property
    def meet_s(self) -> float:
        """All that connecting may take: reaching, looking, bringing the agent, its first word."""
        return self.connect_s + 4 * self.command_s + self.transfer_s + self.open_s
