"""Which execution provider really runs each node: asked of onnxruntime's own profile of one run.

A session's list of providers says what was registered, not what runs: a provider that takes no
node of a model stands in it all the same, and its nodes run on the CPU.
"""

import json
import os
import shutil
import tempfile
from typing import Any, Callable, Dict, List, Tuple

from ...protocol.errors import BOARD, TOOLCHAIN, AgentError

CPU = "CPUExecutionProvider"
_KERNEL = "_kernel_time"


def placed(setup: Any, open_session: Callable[[Any], Any], feed: Dict[str, Any]) -> Dict[str, int]:
    """Provider to the number of nodes that it ran.

    Args:
        setup: session options; profiling is switched on in them.
        open_session: makes a session of them, which is closed again.
        feed: one input.
    """
    folder = tempfile.mkdtemp(prefix="farm-profile-")
    try:
        setup.enable_profiling = True
        setup.profile_file_prefix = os.path.join(folder, "run")
        session = open_session(setup)
        session.run(None, feed)
        with open(session.end_profiling()) as file:
            return count(json.load(file))
    except (IOError, OSError, ValueError):
        return {}
    finally:
        setup.enable_profiling = False
        shutil.rmtree(folder, ignore_errors=True)


def count(events: List[Any]) -> Dict[str, int]:
    """Providers of the node events of a profile; a node that ran twice counts once."""
    nodes = set()
    for event in events:
        if isinstance(event, dict) and str(event.get("name", "")).endswith(_KERNEL):
            details = event.get("args") or {}
            nodes.add((details.get("node_index"), event["name"], details.get("provider") or CPU))
    found: Dict[str, int] = {}
    for _, _, provider in nodes:
        found[provider] = found.get(provider, 0) + 1
    return found


def check(asked: List[str], nodes: Dict[str, int], version: str) -> None:
    """Refuse nodes on a provider that was not asked for, and a first provider that runs nothing.

    Raises:
        AgentError: `toolchain`, with the numbers; `board` when there are none.
    """
    if not nodes:
        raise AgentError(
            BOARD,
            "onnxruntime %s does not tell which provider runs the nodes, so that a fallback to the "
            "CPU cannot be ruled out" % version,
            "no-provider",
        )
    counted = ", ".join("%d on %s" % (nodes[name], name) for name in sorted(nodes))
    foreign = [name for name in sorted(nodes) if name not in asked]
    if foreign:
        raise AgentError(
            TOOLCHAIN,
            "only %s was asked for, but onnxruntime %s runs nodes elsewhere: %s; put %s into "
            "`providers` to allow that" % (", ".join(asked), version, counted, foreign[0]),
            "fallback",
        )
    if not nodes.get(asked[0]):
        raise AgentError(
            TOOLCHAIN,
            "%s was asked for, but onnxruntime %s runs none of the nodes on it: %s"
            % (asked[0], version, counted),
            "fallback",
        )


def words(first: str, nodes: Dict[str, int]) -> Tuple[str, Dict[str, Any]]:
    """What executes, in words, and the facts: other providers are named with their share."""
    total = sum(nodes.values())
    others = [name for name in sorted(nodes) if name != first]
    text = first + "".join(" + %s (%d of %d nodes)" % (name, nodes[name], total) for name in others)
    return text, {"nodes": dict(nodes)}
