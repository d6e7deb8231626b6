"""`farm data`: a test set looked at before it is used."""

from orchestrator.cli.parsing import Group, Section

command = Group(
    "data",
    package=__name__,
    section=Section.BEGIN,
    short_help="look at a test set before it is used",
    help="Look at a test set before it is used.",
    examples=("farm data check faces/",),
)
