"""How farm reads its command line: click, with what farm's users are used to beside it.

Nothing here imports more than click and the standard library: help and completion must be quick.
"""

from orchestrator.cli.parsing.command import Command, Group, Section, declare
from orchestrator.cli.parsing.project import Where

__all__ = ["Command", "Group", "Section", "Where", "declare"]
