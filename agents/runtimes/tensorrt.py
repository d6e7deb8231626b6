"""TensorRT 8.0 to 10.x: an engine built on the board from ONNX, run by the Python bindings or,
where they are absent, by `trtexec`.

Options:
    library: path on the board of libcudart, where it is not found alone, or of trtexec, which is
        then used even where there are bindings.
    output: name of the output that is the feature; the first by default.
    interface: the artifact's; where it has several `outputs`, these make up the row, in its order.
    build_s: seconds that building an engine may take (1800).
    workspace_mb: memory for the builder's trials (512).
    fp16: let layers outside of int8 run in float16 (False).
"""

import glob
import importlib.util
import os
import re
import sys
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ..protocol.errors import BOARD, AgentError
from ..session.preprocess import Preprocessor
from . import BaseRuntime, Descriptor, Input, source_version

DESCRIPTOR = Descriptor(
    label="TensorRT",
    providers=("TensorRT",),
    gpu_providers=("TensorRT",),
    takes_onnx=True,
    builds=True,
    threads=False,
    libraries=("libnvinfer.so",),
    package="tensorrt",
    distribution="tensorrt-",
)
_LIBRARIES = (
    "/usr/lib/*-linux-gnu/libnvinfer.so.*",
    "/usr/lib/*-linux-gnu/tegra/libnvinfer.so.*",
    "/usr/lib/libnvinfer.so.*",
    "/usr/local/lib/libnvinfer.so.*",
    "/usr/local/tensorrt/lib/libnvinfer.so.*",
)
PROGRAMS = ("/usr/src/tensorrt/bin/trtexec", "/usr/local/tensorrt/bin/trtexec")
_SUFFIX = re.compile(r"libnvinfer\.so\.(\d+(?:\.\d+)+)$")


def probe(load: bool = False) -> Optional[Dict[str, Any]]:
    """Version of the bindings, read from their source, else of the library beside trtexec."""
    version, problem = _bindings(load)
    if version is not None and not problem:
        return {"version": version, "providers": ["bindings"]}
    program = find_program({})
    if program:
        return {"version": library_version(program), "providers": ["trtexec"]}
    if version is not None:
        return {"version": version, "problem": problem}
    return None


def _bindings(load: bool) -> Tuple[Optional[str], str]:
    try:
        spec = importlib.util.find_spec("tensorrt")
    except (ImportError, ValueError):
        return None, ""
    if spec is None or not spec.origin:
        return None, ""
    version = source_version(spec.origin)
    if load:
        try:
            import tensorrt

            version = str(tensorrt.__version__)
        except Exception as error:
            return version, "%s: %s" % (type(error).__name__, error)
    return version, ""


def find_program(options: Mapping[str, Any]) -> str:
    """Path of trtexec: `library` when it names it, in PATH, or where JetPack puts it; or empty."""
    named = str(options.get("library") or "")
    if os.path.basename(named) == "trtexec":
        return named
    folders = os.environ.get("PATH", "").split(os.pathsep)
    places = [os.path.join(folder, "trtexec") for folder in folders if folder]
    for path in places + list(PROGRAMS):
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return ""


def library_version(program: str) -> str:
    """The version in libnvinfer's file name, beside `program` first; empty when not found."""
    folder = os.path.dirname(os.path.dirname(program))
    for place in (os.path.join(folder, "lib", "libnvinfer.so.*"),) + _LIBRARIES:
        found = [_SUFFIX.search(path) for path in glob.glob(place)]
        versions = [match.group(1) for match in found if match]
        if versions:
            return max(versions, key=len)
    return ""


class Runtime(BaseRuntime):
    """Whichever of the two ways works here; see `BaseRuntime`."""

    def __init__(self, path: str, options: Mapping[str, Any], preprocessing: Preprocessor) -> None:
        self._inner = _open(path, options, preprocessing)
        inner = self._inner
        self.inputs, self.outputs, self.dim = inner.inputs, inner.outputs, inner.dim
        self.version, self.provider, self.facts = inner.version, inner.provider, inner.facts
        self.in_blocks = inner.in_blocks

    def run(self, data: Input) -> Tuple[bytes, int]:
        return self._inner.run(data)

    def times(self, data: Input, count: int, seconds: float) -> Tuple[List[int], List[int]]:
        return self._inner.times(data, count, seconds)

    def close(self) -> None:
        self._inner.close()


def _open(path: str, options: Mapping[str, Any], preprocessing: Preprocessor) -> BaseRuntime:
    program = find_program(options)
    if program and program == options.get("library"):  # somebody wants it so
        version, problem = None, ""
    else:
        version, problem = _bindings(load=True)
    if version is not None and not problem:
        from .trt import bindings

        return bindings.Runtime(path, options, preprocessing)
    if program:
        from .trt import trtexec

        return trtexec.Runtime(path, options, preprocessing, library_version(program), program)
    raise AgentError(
        BOARD,
        "TensorRT cannot be used here: %s, and there is no trtexec (looked in PATH, %s)"
        % (
            "its Python bindings do not load (%s)" % problem
            if problem
            else "%s has no module tensorrt" % (sys.executable or "python3"),
            ", ".join(PROGRAMS),
        ),
        "no-runtime",
    )
