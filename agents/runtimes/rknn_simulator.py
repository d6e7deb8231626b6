"""Rockchip's simulator, which executes on the head what rknn-toolkit2 has built.

It works only on a model built in the same process, so the artifact is not a `.rknn` file but an
archive of what the toolkit builds from: the float32 model, the calibration images, the request,
and the script that makes the calls (`rknn_tool.py`, which also makes the boards' files). It tells
accuracy. Its time is no board's.
"""

import importlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import zipfile
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ..measurement import clock
from ..protocol.errors import BOARD, TOOLCHAIN, AgentError
from ..session.preprocess import Preprocessor
from . import SIMULATOR, BaseRuntime, Descriptor, Input, check_shape
from .support import outputs

PACKAGE = "rknn-toolkit2"
PROVIDER = "simulator"
DESCRIPTOR = Descriptor(
    label="RKNN simulator",
    role=SIMULATOR,
    providers=(PROVIDER,),
    threads=False,
    library_path=False,
)
_REQUEST, _TOOL = "request.json", "rknn_tool.py"


def probe(load: bool = False) -> Optional[Dict[str, Any]]:
    """The toolkit's version where this Python has it."""
    if importlib.util.find_spec("rknn") is None:
        return None
    try:
        version = importlib.import_module("importlib.metadata").version(PACKAGE)
    except Exception:  # Python before 3.8, or the small runtime of boards, which has no simulator
        return None
    return {"version": version, "providers": [PROVIDER]}


def _own_packages_only() -> None:
    """Take PYTHONPATH out: farm's packages and the toolkit's exclude each other."""
    others = os.environ.pop("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [place for place in sys.path if not place or place not in others]


class Runtime(BaseRuntime):
    """Builds the model, then executes it image by image: raw uint8 NHWC in, float32 out."""

    provider = PROVIDER

    def __init__(self, path: str, options: Mapping[str, Any], preprocessing: Preprocessor) -> None:
        _own_packages_only()
        facts = probe()
        if facts is None:
            raise AgentError(BOARD, "%s is not in the Python that runs the simulator" % PACKAGE)
        self.version = facts["version"]
        wants: List[Optional[int]] = [1, preprocessing.height, preprocessing.width, 3]
        check_shape(wants, "uint8", preprocessing)
        self._shape = tuple(preprocessing.shape[1:])
        folder = tempfile.mkdtemp(prefix="rknn-", dir=os.path.dirname(path))
        try:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
            os.chdir(folder)  # the toolkit writes beside itself
            self._build(folder)
            row = self._tool.infer(self._rknn, self._image(bytes(preprocessing.input_bytes)))
            said = outputs.stated(options)
            wanted = sum(map(outputs.numbers, said))
            if said and wanted != row.size:
                raise ValueError(
                    "its outputs have %d numbers, its manifest says %d" % (row.size, wanted)
                )
        except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
            raise AgentError(TOOLCHAIN, "the simulator's archive: %s" % error)
        finally:
            os.chdir(os.path.dirname(path) or "/")
            shutil.rmtree(folder, ignore_errors=True)
        self.dim = int(row.size)
        self.inputs = [{"name": "input", "shape": preprocessing.shape, "dtype": "uint8"}]
        self.outputs = [
            {"name": each.get("name", ""), "shape": each.get("shape"), "dtype": "float32"}
            for each in said
        ] or [{"name": "feature", "shape": [1, self.dim], "dtype": "float32"}]

    def _build(self, folder: str) -> None:
        with open(os.path.join(folder, _REQUEST)) as file:
            request = json.load(file)
        spec = importlib.util.spec_from_file_location("rknn_tool", os.path.join(folder, _TOOL))
        if spec is None or spec.loader is None:
            raise ValueError("it has no %s" % _TOOL)
        self._tool: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self._tool)
        result: Dict[str, Any] = {"calls": []}
        try:
            self._rknn: Any = self._tool.build(request, folder, result)
            self._tool.call_it(self._rknn, "init_runtime", {}, result)
        except self._tool.Failed as error:
            raise AgentError(TOOLCHAIN, "%s %s: %s" % (PACKAGE, self.version, error))

    def _image(self, data: Input) -> Any:
        import numpy

        return numpy.frombuffer(data, dtype=numpy.uint8).reshape(self._shape)

    def run(self, data: Input) -> Tuple[bytes, int]:
        image = self._image(data)
        begin = clock.now_ns()
        row = self._tool.infer(self._rknn, image)
        took = clock.now_ns() - begin
        return row.astype("<f4").tobytes(), took

    def close(self) -> None:
        self._rknn.release()
