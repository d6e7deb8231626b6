"""An inventory's entry while it is being made, held against the file's own rules."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from orchestrator.errors import UserError
from orchestrator.fleet.transport.openssh_config import Target
from orchestrator.specs.base import Spec, problems_of
from orchestrator.specs.transports import SshTransportSpec
from orchestrator.specs.yamlfile import Source


def ssh_entry(target: Target) -> dict[str, Any]:
    """What stands under `transport: ssh:` for this target."""
    ssh: dict[str, Any] = {"host": target.host}
    if target.port != 22:
        ssh["port"] = target.port
    if target.user is not None:
        ssh["user"] = target.user
    if target.key is not None:
        ssh["key"] = target.key
    valid(SshTransportSpec, ssh)
    return ssh


S = TypeVar("S", bound=Spec)


def valid(cls: type[S], data: dict[str, Any]) -> S:
    """The data as the inventory's file would be read.

    Raises:
        UserError: they are not valid.
    """
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        words = "; ".join(p.text for p in problems_of(error, cls, Source("")))
        shown = ", ".join(f"{k} {v!r}" for k, v in data.items() if k in ("name", "host", "user"))
        raise UserError(
            f"not a valid entry ({shown}): {words}", "see `farm boards add --help`"
        ) from None
