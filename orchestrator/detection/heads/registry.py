"""The table of heads. A new one is a file of this folder and a line here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.detection.errors import DetectionError
from orchestrator.detection.heads.centerface import CENTERFACE
from orchestrator.detection.heads.head import DetectionHead, Output, Size
from orchestrator.detection.heads.retinaface import RETINAFACE
from orchestrator.detection.heads.scrfd import SCRFD
from orchestrator.detection.heads.ultralight import ULTRALIGHT
from orchestrator.detection.heads.yunet import YUNET

HEADS: Mapping[str, DetectionHead] = {
    head.name: head for head in (SCRFD, RETINAFACE, YUNET, CENTERFACE, ULTRALIGHT)
}


def recognized(outputs: Sequence[Output], size: Size) -> tuple[DetectionHead, tuple[str, ...]]:
    """The head that a model's outputs belong to, and their names in its decoder's order.

    Args:
        outputs: of the model, with a batch of one.
        size: height, width of its input.

    Raises:
        DetectionError: no head has such outputs.
    """
    for head in HEADS.values():
        names = head.recognize(outputs, size)
        if names is not None:
            return head, names
    shown = ", ".join(f"{output.name} {list(output.shape)}" for output in outputs)
    raise DetectionError(
        f"no known detection head has these outputs for an input of {size[0]} x {size[1]} "
        f"(height x width): {shown}; known heads: {', '.join(HEADS)}"
    )
