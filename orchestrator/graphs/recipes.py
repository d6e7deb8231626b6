"""Which versions of farm's work on graphs there are, and in which version of ONNX it speaks.

Part of the keys of everything made: each is raised when what is made may differ for the same
inputs. They stand here, apart from the work, because a plan names them and does none of it.
"""

from __future__ import annotations

from orchestrator.installed import installed

PREPARE = 1
QDQ = 2
CALIBRATE = 1
EMIT = 1
HELPERS = 2
FINISH = 1
TWIN = 2
PRELUS = 1
INTEGERS = 1

OPSET, IR = 13, 7
"""Of a prepared file."""

TENSORRT_OPSET, TENSORRT_IR = 13, 7
"""The newest that TensorRT 8.0 takes."""


def calibration_version() -> str:
    """What decides a calibration table's figures besides model and images, for its key."""
    return (
        f"onnxruntime {installed('onnxruntime')}, onnx {installed('onnx')}, "
        f"recipe {PREPARE}.{CALIBRATE}"
    )


def helpers_version() -> str:
    """What decides the accuracy helpers' work besides model, scheme, table and images."""
    return f"recipe {HELPERS}"
