"""`farm toolchain`: environments for vendors' toolkits that farm's own cannot hold."""

from orchestrator.cli.parsing import Group, Section

command = Group(
    "toolchain",
    package=__name__,
    section=Section.HERE,
    short_help="install, list or remove vendors' toolkits",
    help="Install, list or remove vendors' toolkits.",
    examples=("farm toolchain list", "farm toolchain install rknn"),
)
