"""Rockchip's RKNNLite package, for boards where `rknn.py` finds no library.

It keeps no time of the NPU's own: device time is that of `inference`, copies included.
"""

import importlib.util
import os
import re
import sys
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ...measurement import clock
from ...protocol.errors import BOARD, TOOLCHAIN, AgentError
from ...session.preprocess import Preprocessor
from .. import Input, check_shape
from . import native, outputs


def probe() -> Optional[Dict[str, Any]]:
    """The package's version, read from its installation; None where it is not installed."""
    try:
        spec = importlib.util.find_spec("rknnlite")
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    version = ""
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            found = re.match(r"rknn_toolkit_lite2?-([0-9][\w.]*?)(-py.*)?\.(dist|egg)-info$", name)
            version = version or (found.group(1) if found else "")
    return {"version": ("RKNNLite " + version).strip()}


class ByLite(object):
    """A model in RKNNLite; attributes and methods are those of `BaseRuntime`."""

    def __init__(self, path: str, options: Mapping[str, Any], preprocessing: Preprocessor) -> None:
        try:
            import numpy
            from rknnlite.api import RKNNLite
        except Exception as error:
            raise AgentError(
                BOARD,
                "RKNNLite cannot be loaded: %s: %s" % (type(error).__name__, error),
                "no-runtime",
            )
        self._numpy, self._file = numpy, os.path.basename(path)
        shape = [1, preprocessing.height, preprocessing.width, 3]
        check_shape(list(shape), "uint8", preprocessing)
        native.check_quantized("input", native.stated_input(preprocessing), None)
        self._shape = shape
        self._lite = RKNNLite(verbose=False)
        self._check("load_rknn", self._lite.load_rknn(path))
        self._check("init_runtime", self._lite.init_runtime())
        words = str(self._lite.get_sdk_version() or "").split()
        self.version = ("RKNNLite " + " ".join(words))[:200].strip()
        self.inputs = [{"name": "", "shape": shape, "dtype": "uint8"}]
        self._said = outputs.stated(options)
        self.dim = len(self.run(bytes(preprocessing.input_bytes))[0]) // 4
        self.outputs = [
            {"name": each.get("name", ""), "shape": each.get("shape"), "dtype": "float32"}
            for each in self._said
        ] or [{"name": "", "shape": [1, self.dim], "dtype": "float32"}]

    def _check(self, method: str, code: Any) -> None:
        if code != 0:
            raise AgentError(
                BOARD,
                "RKNNLite: %s on %s returned %r: the file is of another chip or a newer toolkit,"
                " or librknnrt.so does not match the driver; what it printed stands in the board's"
                " log" % (method, self._file, code),
            )

    def run(self, data: Input) -> Tuple[bytes, int]:
        image = self._numpy.frombuffer(data, dtype=self._numpy.uint8).reshape(self._shape)
        begin = clock.now_ns()
        found = self._lite.inference([image], data_format=["nhwc"])
        took = clock.now_ns() - begin
        if not found:  # it does not raise
            raise AgentError(BOARD, "RKNNLite: inference on %s gave nothing" % self._file)
        return b"".join(self._values(found)), took

    def _values(self, found: List[Any]) -> List[bytes]:
        said = self._said or [{}]
        if self._said and len(found) != len(said):
            raise AgentError(
                TOOLCHAIN,
                "%s has %d outputs, expected %d; convert the model again"
                % (self._file, len(found), len(said)),
            )
        rows = []
        for index, about in enumerate(said):
            each = found[index]
            row = self._numpy.ascontiguousarray(each, dtype="<f4")
            if self._said:
                outputs.check_size(str(about.get("name")), int(row.size), about)
            rows.append(row.tobytes())
        return rows

    def close(self) -> None:
        self._lite.release()
