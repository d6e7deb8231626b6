"""Why onnxruntime runs a model without a provider that it was asked for and says it has.

Its list of available providers is that of its build: one whose libraries are missing on this board
stands in it too, and a session falls back to the CPU, which only its log on standard error tells.
"""

import os
from typing import Any, List

_SHORT = {"CUDAExecutionProvider": "cuda", "TensorrtExecutionProvider": "tensorrt"}


def not_loaded(onnxruntime: Any, path: str, names: List[str]) -> str:
    """The first of the providers that a session of this file does without; empty if none."""
    try:
        used = list(onnxruntime.InferenceSession(path, providers=names).get_providers())
    except Exception:
        return ""  # the file is refused whatever executes
    return next((name for name in names if name not in used), "")


def words(onnxruntime: Any, name: str) -> str:
    """What it lacks: `: libcublasLt.so.13: cannot open shared object file`; empty if unknown."""
    if name not in _SHORT:
        return ""
    folder = os.path.join(os.path.dirname(onnxruntime.__file__), "capi")
    try:
        import ctypes

        ctypes.CDLL(os.path.join(folder, "libonnxruntime_providers_%s.so" % _SHORT[name]))
    except (ImportError, OSError) as error:
        return ": %s" % str(error).partition(": No such file")[0]
    return ""
