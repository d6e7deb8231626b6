"""The program `farm`: the entry point that pip installs."""

from __future__ import annotations

from typing import NoReturn

from orchestrator.cli.stopping import run


def farm() -> NoReturn:
    """The entry point; what is imported here may be interrupted too."""

    def main() -> int:
        from orchestrator.cli.main import main

        return main()

    run(main)
