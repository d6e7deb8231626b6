"""Where an entry's faces are found, of a test set of photos, and by what detector.

`this-host`: in float32 on this host. `same`: on the row's board, quantized as the recognizer. A
quantization: on the row's board, so quantized.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Tag

from orchestrator.specs.base import wrong
from orchestrator.specs.quantization import WORDS, Quantization
from orchestrator.specs.yamlfile import nearest

HERE: Literal["this-host"] = "this-host"
SAME: Literal["same"] = "same"


def _form(value: Any) -> str:
    return "word" if value in (HERE, SAME) else "quantization"


def _known(value: Any) -> Any:
    """Say what all the choices are where a text begins like none of them."""
    first = value.partition(" ")[0] if isinstance(value, str) else SAME
    if first not in (HERE, SAME, *WORDS):
        near = nearest(first, (HERE, SAME, *WORDS))
        raise wrong(f"{value!r} is neither {HERE}, {SAME} nor a quantization{near}")
    return value


Detecting = Annotated[
    Annotated[Literal["this-host", "same"], Tag("word")]
    | Annotated[Quantization, Tag("quantization")],
    Discriminator(_form),
    BeforeValidator(_known),
]


def is_on_board(choice: Detecting) -> bool:
    """Whether the row's board runs the detector."""
    return choice != HERE


def label(choice: Detecting) -> str:
    """Equal choices have equal labels: `this-host`, `same` or a quantization's."""
    return choice if isinstance(choice, str) else choice.label


def quantized(choice: Detecting, recognizer: Quantization) -> Quantization:
    """How a detector on a board is quantized beside a recognizer, whose layers it does not have."""
    if isinstance(choice, Quantization):
        return choice
    return recognizer.model_copy(update={"keep_float": ()})
