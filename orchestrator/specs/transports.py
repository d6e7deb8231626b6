"""How a board is reached: `transport:` of the inventory."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from orchestrator.machines import MachineName
from orchestrator.specs.base import OneOrMany, Spec, tagged, wrong

_HOST = re.compile(r"^[A-Za-z0-9:][A-Za-z0-9._:%-]*$")
_HOST_KEY = re.compile(
    r"^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9@.-]+)"
    r" [A-Za-z0-9+/]+={0,2}( [^\n]*)?$"
)


class JumpHost(Spec):
    """A host on the way to a board, as `ssh -J` has it; the keys are those of a board."""

    host: str
    port: int = Field(22, ge=1, le=65535)
    user: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*\$?$")
    key: str | None = None
    host_key: str | None = None

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        if not _HOST.match(value):
            raise wrong("not a host name or address (a user goes under 'user')")
        return value

    @field_validator("key")
    @classmethod
    def _key(cls, value: str | None) -> str | None:
        if value is not None and ("PRIVATE KEY" in value or not value.isprintable()):
            raise wrong("expected the path of a private key file, never the key itself")
        return value

    @field_validator("host_key")
    @classmethod
    def _host_key(cls, value: str | None) -> str | None:
        if value is not None and not _HOST_KEY.match(value):
            raise wrong("expected a public host key such as 'ssh-ed25519 AAAA...'")
        return value


class SshTransportSpec(JumpHost):
    """A board reached over SSH.

    `user`, `key` left out: as OpenSSH would choose them. `host_key`, the board's public key as
    `ssh-keyscan` prints it without the host, pins the board; without it the key must already be
    among the user's known hosts. `jump`: hosts on the way, the first one first. There is no place
    for a password.
    """

    type: Literal["ssh"] = "ssh"
    jump: OneOrMany[JumpHost] = ()


class LocalTransportSpec(Spec):
    """This host itself, without SSH."""

    type: Literal["local"] = "local"


class EmulatedTransportSpec(Spec):
    """A substitute on this host: a real SSH server that runs the twin of the vendor's artifact.

    `machine`: its processor, whose shell, Python and onnxruntime then really are that one's, run by
    QEMU's user mode (`farm boards machine install`); this host's when left out.
    """

    type: Literal["emulated"] = "emulated"
    machine: MachineName | None = None

    @model_serializer(mode="wrap")
    def _without_default(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What is hashed of a board without it must not change.
        return {name: value for name, value in handler(self).items() if value is not None}


class SimulatorTransportSpec(Spec):
    """The vendor's own simulator on this host: it tells accuracy, never a time."""

    type: Literal["simulator"] = "simulator"


TRANSPORTS = ("ssh", "local", "emulated", "simulator")

Transport = Annotated[
    Annotated[
        SshTransportSpec | LocalTransportSpec | EmulatedTransportSpec | SimulatorTransportSpec,
        Field(discriminator="type"),
    ],
    BeforeValidator(lambda value: tagged(value, "type", TRANSPORTS)),
]


def reached_by(transport: Any) -> tuple[str, str]:
    """The word of a transport as it is written, whatever its form, and its `machine`."""
    if not isinstance(transport, dict):
        return str(transport), ""
    word = str(transport.get("type") or next(iter(transport), ""))
    inner = transport if "type" in transport else transport.get(word)
    machine = inner.get("machine") if isinstance(inner, dict) else None
    return word, str(machine) if machine and word == "emulated" else ""
