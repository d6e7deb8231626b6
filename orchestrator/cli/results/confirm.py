"""Before a slow-down fails `farm gate`, both artifacts are timed again, interleaved."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from orchestrator.errors import FarmError
from orchestrator.execution.second_look import StoredArtifact, measure_again
from orchestrator.reporting.analysis.compare import slower
from orchestrator.reporting.analysis.gate import Confirm, SecondLook
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.analysis.pairing import RowPair
from orchestrator.results import CellResult
from orchestrator.specs.inventory import load_inventory

NOT = "not confirmed by measuring again: "


def confirming(baseline: Run, candidate: Run, console: Console) -> Confirm:
    """A gate's way to measure a row of two runs again."""

    def confirm(pair: RowPair) -> SecondLook | str:
        try:
            first, second = (
                _stored_artifact(baseline, pair.first),
                _stored_artifact(candidate, pair.second),
            )
            if isinstance(first, str) or isinstance(second, str):
                return NOT + (first if isinstance(first, str) else str(second))
            inventory = load_inventory(Path(candidate.request["inventory"]))
            board = next((b for b in inventory.boards if b.name == pair.second.board), None)
            if board is None:
                return (
                    f"{NOT}{pair.second.board} is not in {candidate.request['inventory']} any more"
                )
            again = measure_again(
                board,
                first,
                second,
                pair.second.provenance["measure"]["policy"],
                Path(candidate.request["state"]),
                lambda text: console.print(Text(f"again  {text}", "dim"), soft_wrap=True),
            )
        except (FarmError, KeyError) as error:
            return f"{NOT}{error}"
        first_ms, second_ms = again.first.device_ns / 1e6, again.second.device_ns / 1e6
        return SecondLook(slower(first_ms, second_ms), again.doubts)

    return confirm


def _stored_artifact(run: Run, row: CellResult) -> StoredArtifact | str:
    keys = row.provenance.get("keys", {})
    held = (
        run.store.lookup("convert", keys["artifact"]) if run.store and "artifact" in keys else None
    )
    if held is None:
        return f"the artifact of {run.name} is not in the store any more"
    opened = row.provenance["measure"]["opened"]
    return StoredArtifact(held, opened["runtime"], row.provenance["preprocessing"])
