"""Who deploys a file that is quantized already, and who cannot."""

from __future__ import annotations

from collections.abc import Mapping

UNSAID = "does not say that it takes a file that is quantized already"

# Vendors whose tools quantize by themselves, from a float32 model.
TAKES_NONE: Mapping[str, str] = {
    "tengine": (
        "takes no file that is quantized already: its tool quantizes the float32 model, with a "
        "scale for each tensor"
    ),
    "rknn1": (
        "takes no file that is quantized already: rknn-toolkit 1.x quantizes the float32 model "
        "from the calibration images"
    ),
}
TWIN_FACTS = (
    "the given file itself, its scales and zero points as they are",
    "layers outside QDQ pairs in float32; the vendor's runtime may run them in float16",
)
