"""`farm toolchain list`."""

from orchestrator.cli.parsing import Section, declare


@declare(
    "list",
    "every toolchain, and what it lacks",
    section=Section.HERE,
    examples=["farm toolchain list"],
)
def command() -> int:
    """List them."""
    from orchestrator.cli.setup.toolchain import show

    return show()
