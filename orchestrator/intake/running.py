"""onnxruntime on a user's model: whatever it says against it is for the user to fix."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from orchestrator.errors import ToolchainError, UserError
from orchestrator.graphs import edit
from orchestrator.graphs.sessions import faithful_session

Array = npt.NDArray[Any]


def session_of(model: bytes | str, what: str = "the model") -> Any:
    """An onnxruntime session.

    Raises:
        UserError: onnxruntime refuses the model; in its words, with the node's name.
    """
    try:
        return faithful_session(model, quiet=True)
    except ToolchainError as error:
        said = error.message.removeprefix("onnxruntime cannot load the model: ")
        raise _refused(what, said) from error


def outputs_of(session: Any, feed: dict[str, Array], what: str = "the model") -> list[Array]:
    """All outputs for one feed.

    Raises:
        UserError: onnxruntime fails while it computes.
    """
    try:
        outputs: list[Array] = session.run(None, feed)
    except Exception as error:  # onnxruntime's own, which have no common root
        raise _refused(what, str(error)) from error
    return outputs


def compute(proto: ModelProto, names: list[str], feed: dict[str, Array]) -> dict[str, Array]:
    """Named outputs of a small model."""
    session = session_of(proto.SerializeToString())
    return dict(zip(names, (np.asarray(a) for a in outputs_of(session, feed)), strict=True))


def _refused(what: str, text: str) -> UserError:
    text = edit.shown(text, 2000)
    text = re.sub(r"/\S*/(?=[\w.]+:\d+)", "", text)  # paths of the machine that built onnxruntime
    named = re.search(r"(?:Name:|[Nn]ode(?: with name)?:?) ?\(?'([^']+)'", text) or re.search(
        r"Node \(([^()]+)\)", text
    )
    where = f" at node '{named[1]}'" if named else ""
    return UserError(
        f"onnxruntime cannot compute {what}{where}: {text[:500]}",
        "fix the node in the model's source and export it again",
    )
