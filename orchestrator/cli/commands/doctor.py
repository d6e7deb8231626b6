"""`farm doctor`."""

import click

from orchestrator.cli.parsing import Section, declare, options


@declare(
    "doctor",
    "what is missing here, and how to fix it",
    section=Section.BEGIN,
    examples=["farm doctor", "farm doctor --ray-address 192.168.1.5:6379"],
    text="What is missing here, and how to fix it; connects to no board. MATRIX is matrix.yaml "
    "where left out.",
)
@options.matrix
@options.inventory("(device_inventory.yaml)")
@options.as_json()
@click.option(
    "--ray-address", metavar="HOST:PORT", help="see whether runs can join this Ray cluster"
)
@options.state(hidden=True)
@options.runs(hidden=True)
def command(
    matrix: str,
    inventory: str | None,
    as_json: bool,
    ray_address: str | None,
    state: str,
    runs: str,
) -> int:
    """Look."""
    from orchestrator.cli.setup.doctor import ToExamine, doctor

    asked = ToExamine(matrix, inventory, state, runs, ray_address)
    return doctor(asked, as_json=as_json)
