"""`farm boards machine list`."""

from orchestrator.cli.parsing import Section, declare


@declare(
    "list",
    "the processors, and which are installed",
    section=Section.BOARDS,
    examples=["farm boards machine list"],
)
def command() -> int:
    """List them."""
    from orchestrator.cli.boards.machines import show

    return show()
