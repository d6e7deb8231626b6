"""`farm boards machine`: processors that emulated boards may have."""

from orchestrator.cli.parsing import Group, Section

command = Group(
    "machine",
    package=__name__,
    section=Section.BOARDS,
    short_help="install, list or remove processors for emulated boards",
    help="Install, list or remove processors for emulated boards (`machine:` of "
    "`transport: emulated`).",
    examples=("farm boards machine list", "farm boards machine install aarch64"),
)
