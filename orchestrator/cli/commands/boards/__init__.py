"""`farm boards`: the fleet seen, checked, added to, taken from."""

from orchestrator.cli.parsing import Group, Section

command = Group(
    "boards",
    package=__name__,
    section=Section.BOARDS,
    short_help="see, check, add and remove boards",
    help="See, check, add and remove boards.",
    examples=("farm boards list", "farm boards check all", "farm boards add khadas@192.168.1.20"),
)
