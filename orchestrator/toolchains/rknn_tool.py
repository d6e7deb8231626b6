"""Drives Rockchip's `rknn` package: one request file in, one result file out.

Runs where that package is, by its Python: in the environment of rknn-toolkit2, or on a converter
host with rknn-toolkit 1.x (Python 3.6). So it is one file, of the standard library plus `rknn`,
and knows nothing of farm. Its standard output belongs to the toolkit, which paints on it.

    python rknn_tool.py REQUEST RESULT

The request (JSON): `toolkit`, 1 or 2; `config`, `load_onnx`, `build`, the arguments of the calls
of these names; `output`, the file to make; `check` (toolkit 2), `images` and `features`: uint8
(n, height, width, 3) and float32 (n, dim) `.npy`, of which the second is made of the first by the
simulator. The last two may be left out. Paths are relative to the request. Result (JSON): `ok`;
`version` of the package; `calls`, of each its name, seconds, returned code and error; `error`;
`bytes` and `sha256` of the output.
"""

import hashlib
import json
import os
import sys
import time
import traceback
from typing import Any, Dict

_CALLS = ("config", "load_onnx", "build")
_PATHS = (("load_onnx", "model"), ("build", "dataset"))


class Failed(Exception):
    """A call of the toolkit did not do what it was to do."""


def installed_version(toolkit: int) -> str:
    """The version of the distribution, empty when it does not say."""
    name = "rknn-toolkit" if toolkit == 1 else "rknn-toolkit2"
    try:
        from importlib import metadata

        return metadata.version(name)
    except Exception:  # older Pythons, and packages without metadata
        pass
    try:
        import pkg_resources

        return str(pkg_resources.get_distribution(name).version)
    except Exception:
        return ""


def build(request: Dict[str, Any], folder: str, result: Dict[str, Any]) -> Any:
    """A built model, which is what the simulator needs.

    Args:
        request: see above.
        folder: where its paths begin.
        result: a dict in which the calls are noted as they end.

    Raises:
        Failed: a call raised or returned something else than 0.
    """
    from rknn.api import RKNN

    rknn = RKNN(verbose=True)
    for name in _CALLS:
        arguments = dict(request.get(name) or {})
        for call, key in _PATHS:
            if call == name and arguments.get(key):
                arguments[key] = os.path.join(folder, arguments[key])
        call_it(rknn, name, arguments, result)
    return rknn


def call_it(rknn: Any, name: str, arguments: Dict[str, Any], result: Dict[str, Any]) -> None:
    """One call, noted; both ways in which the toolkit fails are looked at."""
    begin = time.time()
    note = {"name": name, "returned": None, "error": ""}  # type: Dict[str, Any]
    result["calls"].append(note)
    try:
        note["returned"] = getattr(rknn, name)(**arguments)
    except BaseException as error:  # it ends the process with sys.exit in places
        note["error"] = "%s: %s" % (type(error).__name__, error)
        traceback.print_exc()
        raise Failed("%s raised %s" % (name, note["error"]))
    finally:
        note["seconds"] = round(time.time() - begin, 3)
    code = note["returned"]
    # config of 1.x returns nothing.
    if code not in (0, None):
        raise Failed("%s returned %r, expected 0" % (name, code))


def export(rknn: Any, path: str, result: Dict[str, Any]) -> None:
    """The file for a board."""
    call_it(rknn, "export_rknn", {"export_path": path}, result)
    with open(path, "rb") as file:
        data = file.read()
    result["bytes"] = len(data)
    result["sha256"] = hashlib.sha256(data).hexdigest()


def check(rknn: Any, request: Dict[str, str], folder: str, result: Dict[str, Any]) -> None:
    """Features of some images by the simulator, which works on what was just built."""
    import numpy

    call_it(rknn, "init_runtime", {}, result)
    images = numpy.load(os.path.join(folder, request["images"]))
    features = [infer(rknn, image) for image in images]
    numpy.save(os.path.join(folder, request["features"]), numpy.stack(features))


def infer(rknn: Any, image: Any) -> Any:
    """The outputs for one image, uint8 (height, width, 3), one after another: float32 (dim,)."""
    import numpy

    outputs = rknn.inference(inputs=[image[None]], data_format=["nhwc"])
    if not outputs:
        raise Failed("the simulator gave no output")
    return numpy.concatenate([each.reshape(-1).astype("float32") for each in outputs])


def work(request: Dict[str, Any], folder: str) -> Dict[str, Any]:
    """Everything; the result."""
    result = {"ok": False, "calls": [], "error": "", "version": ""}  # type: Dict[str, Any]
    try:
        result["version"] = installed_version(request["toolkit"])
        rknn = build(request, folder, result)
        if request.get("output"):
            export(rknn, os.path.join(folder, request["output"]), result)
        if request.get("check"):
            check(rknn, request["check"], folder, result)
        result["ok"] = True
    except Failed as error:
        result["error"] = str(error)
    except BaseException as error:
        traceback.print_exc()
        result["error"] = "%s: %s" % (type(error).__name__, error)
    return result


def main(request_path: str, result_path: str) -> int:
    """Read a request, do it, write the result."""
    with open(request_path) as file:
        request = json.load(file)
    result = work(request, os.path.dirname(os.path.abspath(request_path)))
    temporary = result_path + ".part"
    with open(temporary, "w") as file:
        json.dump(result, file, indent=1, sort_keys=True, default=repr)
    os.rename(temporary, result_path)
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    CODE = main(*sys.argv[1:3])
    sys.stdout.flush()
    # The toolkit's own threads and exit handlers have been seen to hang or to crash.
    os._exit(CODE)
