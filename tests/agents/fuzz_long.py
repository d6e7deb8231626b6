"""`python -m tests.agents.fuzz_long decoder|agent|head -max_total_time=60`: fuzz with atheris."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["orchestrator.agents", "orchestrator.fleet"]):
    from tests.agents import fuzz

if __name__ == "__main__":
    target = fuzz.TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
