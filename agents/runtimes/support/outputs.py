"""Models with several outputs: one row, the outputs one after another, as the artifact states them.

The interface of an artifact has `outputs` where there are several, in the row's order, each with
its own name, shape, dtype and, where it is quantized, scale and zero point.
"""

from typing import Any, Dict, List, Mapping, Sequence

from ...protocol.errors import TOOLCHAIN, USER, AgentError


def stated(options: Mapping[str, Any]) -> List[Dict[str, Any]]:
    """The outputs of the row; empty where the artifact's interface has one output or is not known.

    Raises:
        AgentError: `user`, what should list them does not.
    """
    interface = options.get("interface") or {}
    found = interface.get("outputs") if isinstance(interface, dict) else None
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise AgentError(USER, "the interface's outputs are %.80r, expected a list" % (found,))
    return found


def chosen(options: Mapping[str, Any], names: Sequence[str]) -> List[str]:
    """Names of the outputs that make up the row, for a runtime that knows outputs by name.

    Args:
        names: the loaded model's outputs.

    Raises:
        AgentError: `user`, the model has no such output.
    """
    several = [str(each.get("name")) for each in stated(options)]
    wanted = several or [str(options.get("output") or names[0])]
    for name in wanted:
        if name not in names:
            raise AgentError(
                USER, "the model has no output %r, it has %s" % (name, ", ".join(names))
            )
    return wanted


def one_by_one(options: Mapping[str, Any], count: int, name: str) -> List[Dict[str, Any]]:
    """What the interface states of each output, for a runtime that knows outputs by position.

    Args:
        count: outputs of the loaded file.
        name: of the file.

    Returns:
        one a output, empty where nothing is stated of it.

    Raises:
        AgentError: `toolchain`, the file has another number of outputs than is stated.
    """
    several = stated(options)
    if not several:
        interface = options.get("interface") or {}
        only = interface.get("output") if isinstance(interface, dict) else None
        several = [only if isinstance(only, dict) else {}]
    if count != len(several):
        raise AgentError(
            TOOLCHAIN,
            "%s has %d outputs, expected %s; convert the model again"
            % (name, count, "one" if len(several) == 1 else len(several)),
        )
    return several


def numbers(said: Mapping[str, Any]) -> int:
    """Numbers of an output by the shape that the interface states; 0 where that leaves it open."""
    count = 1
    for size in said.get("shape") or [None]:
        if not isinstance(size, int):
            return 0
        count *= size
    return count


def check_size(name: str, count: int, said: Mapping[str, Any]) -> None:
    """Compare an output's number of values with the shape that the interface states.

    Raises:
        AgentError: `toolchain`, with both.
    """
    wanted = numbers(said)
    if wanted and wanted != count:
        raise AgentError(
            TOOLCHAIN,
            "the output %r has %d numbers, its manifest says %d (%s); convert the model again"
            % (name, count, wanted, said["shape"]),
        )
