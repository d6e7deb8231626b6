"""What `farm doctor --ray-address` asks of a cluster, in a process of its own.

A driver of Ray's prints, and may be ended by Ray at any moment, so a person's console is no place
for it. `python -m orchestrator.cluster.doctor HOST:PORT INVENTORY` prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TypedDict

from orchestrator.errors import FarmError

ASK_S = 240.0


class NodeReport(TypedDict):
    """`problem` is empty for a cluster that runs can join; `words` a line for each thing seen."""

    problem: str
    hint: str
    words: list[str]


def ask(address: str, inventory: str) -> NodeReport:
    """Join a cluster for a moment, for all boards of an inventory; touches none of them."""
    command = [sys.executable, "-m", __name__, address, inventory]
    failed: NodeReport = {"problem": "", "hint": "`ray status` on its head", "words": []}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=False)
    except subprocess.TimeoutExpired:
        return failed | {"problem": f"no answer within {ASK_S:.0f} s"}
    try:
        report: NodeReport = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.strip().rpartition("\n")[2][:300]
        return failed | {"problem": f"Ray ended the driver: {last}"}
    return report


def main(address: str, inventory: str) -> None:
    """Join and print what was found."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever Ray prints
    from orchestrator.cluster.joined import ExistingCluster
    from orchestrator.cluster.ray_cluster import RayCluster
    from orchestrator.specs.inventory import load_inventory

    report: NodeReport = {"problem": "", "hint": "", "words": []}
    cluster = RayCluster(ExistingCluster(address), load_inventory(inventory).boards)
    cluster.start()
    try:
        cluster.wait()
        report["words"] = [text for _, text in cluster.notes]
    except FarmError as error:
        report["problem"], report["hint"] = error.message, error.hint
    answer.write(json.dumps(report))
    answer.close()
    cluster.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
