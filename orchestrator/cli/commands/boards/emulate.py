"""`farm boards emulate`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types
from orchestrator.machines import MACHINES


@declare(
    "emulate",
    "write an emulated board into the inventory",
    section=Section.BOARDS,
    examples=[
        "farm boards emulate vim3 --kind khadas-vim3",
        "farm boards emulate arm --machine aarch64",
    ],
    text="Write an emulated board into the inventory: a real SSH server on this host, with this "
    "host's processor or another one's userland.",
)
@click.argument("name")
@click.option("--kind", type=types.KIND, help="whose twin it runs (host-cpu: onnxruntime's own)")
@click.option(
    "--machine", type=types.Word(MACHINES), help="its processor: aarch64 or armv7l (this host's)"
)
@options.fleet
def command(
    inventory: str, state: str, runs: str, name: str, kind: str | None, machine: str | None
) -> int:
    """Write it."""
    from orchestrator.cli.boards.fleet import Places
    from orchestrator.cli.boards.machines import emulate

    return emulate(Places.named(inventory, state, runs), name, kind or "host-cpu", machine)
