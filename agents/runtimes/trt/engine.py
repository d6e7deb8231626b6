"""TensorRT engines on the board: keyed, built in a process of their own, kept, verified.

An engine fits one GPU and one TensorRT version, so it is made on the board from the ONNX file and
named by the hash of everything that it depends on. It lies beside the artifacts, in the cache
that `cleanup` bounds, with a note of its sha256: a damaged one is built again.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from typing import Any, Callable, Dict, Mapping, Optional

from ...host import programs
from ...protocol.errors import BOARD, TOOLCHAIN, USER, AgentError
from ...storage.cleanup import touch

# Raised when an engine made from the same inputs may be another one.
RECIPE = 1
BUILD_S = 1800.0
WORKSPACE_MB = 512
_BLOCK = 1 << 20
_START = (
    "import importlib, sys\n"
    "sys.path.insert(0, sys.argv[1])\n"
    "sys.exit(importlib.import_module(sys.argv[2]).main(sys.argv[3]))\n"
)


class Engine(object):
    """A verified engine on the board.

    Attributes:
        path: of the serialized engine.
        facts: `engine_sha256`, `engine_bytes`, `build_s` (when it was built), `int8`, ...
        built: whether it was built just now.
    """

    def __init__(self, path: str, facts: Mapping[str, Any], built: bool) -> None:
        self.path = path
        self.facts: Dict[str, Any] = dict(facts, built_now=built)
        self.built = built


class Recipe(object):
    """What an engine is built from and with.

    Args:
        onnx: path of the ONNX file.
        maker: `bindings` or `trtexec`, which may choose differently.
        version: of TensorRT.
        device: of `Cuda.device`: an engine is tied to it.
        options: of the runtime; `fp16` (False), `workspace_mb` (512) and `build_s` (1800) count.

    Raises:
        AgentError: `user` when an option is out of its bounds.
    """

    def __init__(
        self,
        onnx: str,
        maker: str,
        version: str,
        device: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> None:
        self.onnx = os.path.abspath(onnx)
        self.maker = maker
        self.version = version
        # A float16 file says so in its metadata; an int8 one may have float16 beside it.
        self.fp16 = bool(options.get("fp16")) or _mentions(self.onnx, b"farm.float16")
        self.workspace_mb = int(_option(options, "workspace_mb", WORKSPACE_MB, 1, 1 << 20))
        self.build_s = float(_option(options, "build_s", BUILD_S, 0.1, 1e6))
        self.int8 = _mentions(self.onnx, b"QuantizeLinear")
        self._key: Dict[str, Any] = {
            "recipe": RECIPE,
            "onnx": _sha256(self.onnx),
            "maker": maker,
            "tensorrt": version,
            "device": {
                name: device.get(name)
                for name in ("gpu", "compute_capability", "multiprocessors", "cuda")
            },
            "fp16": self.fp16,
            "int8": self.int8,
            "workspace_mb": self.workspace_mb,
        }

    @property
    def name(self) -> str:
        """The engine's file name, without its ending."""
        text = json.dumps(self._key, sort_keys=True)
        return "engine-" + hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]

    def request(self, plan: str, result: str) -> Dict[str, Any]:
        """What the builder's process is told."""
        return {
            "onnx": self.onnx,
            "plan": plan,
            "result": result,
            "int8": self.int8,
            "fp16": self.fp16,
            "workspace_mb": self.workspace_mb,
        }


Build = Callable[[Recipe, str, str], Mapping[str, Any]]


def provide(recipe: Recipe, build: Build, anew: bool = False) -> Engine:
    """The engine of a recipe: the one that is kept, if it is whole, else a new one.

    Args:
        build: called with the recipe, a folder of its own and the path to write to; returns facts.
        anew: the kept one does not load: build again.

    Raises:
        AgentError: see `build`; `board` when the engine cannot be kept.
    """
    place = os.path.join(os.path.dirname(recipe.onnx), recipe.name)
    plan, note = place + ".plan", place + ".json"
    if not anew:
        stored = _stored(plan, note)
        if stored is not None:
            return Engine(plan, stored, False)
    remove(plan, note)
    folder = _folder(recipe.onnx)
    try:
        engine = os.path.join(folder, "engine.plan")
        facts = dict(build(recipe, folder, engine))
        facts.update(
            engine_sha256=_sha256(engine), engine_bytes=os.path.getsize(engine), int8=recipe.int8
        )
        # The note comes last: an engine without one is not taken for whole.
        os.rename(_beside(engine, plan), plan)
        part = note + ".part"
        with open(part, "w") as file:
            json.dump(facts, file, sort_keys=True)
        os.rename(part, note)
    except (IOError, OSError) as error:
        raise AgentError(
            BOARD,
            "the TensorRT engine cannot be kept in %s: %s" % (os.path.dirname(plan), error),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Engine(plan, facts, True)


def build_apart(recipe: Recipe, folder: str, plan: str) -> Dict[str, Any]:
    """Build with the bindings in a process of its own, whose memory is free again afterwards.

    Raises:
        AgentError: what the builder found; `user` at the deadline; `toolchain` when it crashed.
    """
    result, asked = os.path.join(folder, "result.json"), os.path.join(folder, "request.json")
    with open(asked, "w") as file:
        json.dump(recipe.request(plan, result), file)
    package = __name__.rsplit(".", 1)[0]
    root = os.path.abspath(__file__)
    for _ in __name__.split("."):
        root = os.path.dirname(root)
    words = [sys.executable or "python3", "-c", _START, root, package + ".build", asked]
    ended = programs.run(words, folder, recipe.build_s, "building the TensorRT engine")
    in_time(ended, recipe)
    try:
        with open(result) as file:
            report = json.load(file)
    except (IOError, OSError, ValueError):
        raise AgentError(
            TOOLCHAIN,
            "TensorRT %s's builder %s without a word; its last lines: %s"
            % (recipe.version, ended.how, ended.tail()),
        )
    if "class" in report:
        raise AgentError(str(report["class"]), str(report["message"]), str(report.get("code", "")))
    if not _size(plan):
        raise AgentError(
            TOOLCHAIN,
            "TensorRT %s's builder %s and left no engine; its last lines: %s"
            % (recipe.version, ended.how, ended.tail()),
        )
    return dict(report, build_s=round(ended.seconds, 3))


def in_time(ended: programs.Ended, recipe: Recipe) -> None:
    """Raise when a build was stopped at its deadline."""
    if ended.late:
        raise AgentError(
            USER,
            "building the TensorRT engine took longer than %g s (build_s) and was stopped; allow "
            "more: FARM_DEADLINES='{\"build_s\": %d}'; its last lines: %s"
            % (recipe.build_s, int(4 * recipe.build_s) or 1, ended.tail(3)),
            "build-deadline",
        )


def remove(*paths: str) -> None:
    """Remove files that may be there."""
    for path in paths:
        try:
            os.unlink(path)
        except OSError:
            pass


def _stored(plan: str, note: str) -> Optional[Dict[str, Any]]:
    try:
        with open(note) as file:
            facts = json.load(file)
        if not isinstance(facts, dict) or _sha256(plan) != facts.get("engine_sha256"):
            return None
    except (IOError, OSError, ValueError):
        return None
    touch(plan)
    touch(note)
    return facts


def _beside(engine: str, plan: str) -> str:
    """The new engine on the file system of its final place, so that renaming is atomic."""
    part = plan + ".part"
    shutil.move(engine, part)
    return part


def _folder(onnx: str) -> str:
    """A work folder, where possible in the workdir's `tmp`, which `cleanup` empties."""
    above = os.path.join(os.path.dirname(os.path.dirname(onnx)), "tmp")
    try:
        os.makedirs(above, 0o700, exist_ok=True)
        return tempfile.mkdtemp(prefix="build-", dir=above)
    except OSError:
        try:
            return tempfile.mkdtemp(prefix="farm-build-")
        except OSError as error:
            raise AgentError(BOARD, "no folder to build an engine in: %s" % error)


def _option(options: Mapping[str, Any], name: str, default: float, low: float, high: float) -> Any:
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise AgentError(USER, "tensorrt: %s is %r, expected %g to %g" % (name, value, low, high))
    return value


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def _mentions(path: str, word: bytes) -> bool:
    """Whether a file holds `word`, read in blocks that overlap."""
    rest = b""
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            if word in rest + block:
                return True
            rest = block[-len(word) :]
    return False


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
