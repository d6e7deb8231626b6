"""A TensorRT engine run with NVIDIA's program `trtexec`, where the Python bindings are absent.

JetPack 4.6 has it in /usr/src/tensorrt/bin. Options and file formats as in NVIDIA's published
source of trtexec (tags 8.0.1 to 10.3.0), read, **not run on a board by us**:

- building: --onnx, --saveEngine, --int8, --fp16, --noTF32; --workspace up to 8.3 and
  --memPoolSize=workspace:N from 8.4 (MiB); --buildOnly up to 8.5, --skipInference from 8.6;
- running: --loadEngine, --loadInputs=name:file (raw values), --iterations, --duration (s),
  --warmUp (ms), --exposeDMA (copies do not overlap the engine), --useSpinWait;
- --exportOutput: a list of {name, dimensions, values}, printed with six digits;
- --exportTimes: a list with `computeMs` and `startComputeMs` each. Up to 8.4 the warm-up's
  runs are in it, and start before the warm-up's end; `endToEndMs` is gone from 8.4 on.

Every image is a process that loads the engine again: seconds an image on a Jetson. A bound on what
six digits cost: 5e-7 of each value.
"""

import json
import os
import re
import shutil
import struct
import tempfile
from typing import Any, Dict, List, Mapping, Tuple

from ...host import programs
from ...protocol.errors import BOARD, TOOLCHAIN, USER, AgentError
from ...session.preprocess import Preprocessor
from .. import BaseRuntime, Input, check_shape
from ..support import outputs
from . import onnx_file
from .cuda import Cuda
from .engine import Recipe, in_time, provide

RUN_S = 120.0
WARM_UP_MS = 200
_ODD = re.compile(r"(?<=[\[,\s])-?(?:nan|inf)(?=\s*[,\]])")
_WORDS = {"nan": "NaN", "inf": "NaN"}


class Runtime(BaseRuntime):
    """One engine, run by a process an image.

    Args:
        version: of libnvinfer, as its file's name tells it; empty when it does not.
        program: trtexec.
    """

    provider = "trtexec"
    in_blocks = True

    def __init__(
        self,
        path: str,
        options: Mapping[str, Any],
        preprocessing: Preprocessor,
        version: str,
        program: str,
    ) -> None:
        self.version = version
        self._program = program
        self._folder = ""
        device = self._device(options)
        recipe = Recipe(path, "trtexec", version, device, options)
        self._describe(path, options, preprocessing)
        if any(sign in self._input for sign in ":,"):
            raise AgentError(
                TOOLCHAIN,
                "the input is called %r; trtexec takes no name with ':' or ','" % self._input,
            )
        try:
            self._folder = tempfile.mkdtemp(prefix="farm-trtexec-")
            self._engine = provide(recipe, self._build)
            blank = bytes(preprocessing.input_bytes)
            try:
                self._first(blank)
            except AgentError as error:
                if self._engine.built or error.kind != TOOLCHAIN:
                    raise
                self._engine = provide(recipe, self._build, anew=True)
                self._first(blank)
        except BaseException:
            self.close()
            raise
        self.facts = dict(
            device,
            api="trtexec",
            device_time="computeMs of trtexec: the engine on the GPU, without copies",
            **self._engine.facts,
        )

    @staticmethod
    def _device(options: Mapping[str, Any]) -> Dict[str, Any]:
        named = str(options.get("library") or "")
        try:
            cuda = Cuda("" if os.path.basename(named) == "trtexec" else named)
        except AgentError:
            return {"gpu": ""}  # trtexec may have CUDA within itself
        try:
            return cuda.device()
        finally:
            cuda.close()

    def _describe(self, path: str, options: Mapping[str, Any], preprocessing: Preprocessor) -> None:
        try:
            with open(path, "rb") as file:
                self.inputs, self.outputs = onnx_file.tensors(file.read())
        except ValueError as error:
            raise AgentError(TOOLCHAIN, "%s is no ONNX file: %s" % (os.path.basename(path), error))
        if len(self.inputs) != 1:
            found = ", ".join(each["name"] for each in self.inputs)
            raise AgentError(USER, "the model has the inputs %s, expected one" % found)
        check_shape(self.inputs[0]["shape"], "float32", preprocessing)
        names = [each["name"] for each in self.outputs]
        self._input = self.inputs[0]["name"]
        self._wanted = outputs.chosen(options, names)

    def _first(self, blank: bytes) -> None:
        feature, _ = self.run(blank)
        self.dim = len(feature) // 4

    # ---- the program

    def _build(self, recipe: Recipe, folder: str, plan: str) -> Dict[str, Any]:
        words = [self._program, "--onnx=" + recipe.onnx, "--saveEngine=" + plan, "--noTF32"]
        words += ["--int8"] if recipe.int8 else []
        words += ["--fp16"] if recipe.fp16 else []
        numbers = _numbers(self.version)
        size = recipe.workspace_mb
        words.append(
            "--memPoolSize=workspace:%d" % size if numbers >= (8, 4) else "--workspace=%d" % size
        )
        words.append("--skipInference" if numbers >= (8, 6) else "--buildOnly")
        ended = self._run(words, folder, recipe.build_s, "building the TensorRT engine")
        in_time(ended, recipe)
        if not os.path.isfile(plan) or not os.path.getsize(plan):
            raise AgentError(
                BOARD if _memory(ended) else TOOLCHAIN,
                "trtexec %s and made no engine of %s; it says: %s"
                % (ended.how, os.path.basename(recipe.onnx), _complaint(ended)),
            )
        return {"build_s": round(ended.seconds, 3)}

    def _run(self, words: List[str], folder: str, limit_s: float, doing: str) -> programs.Ended:
        try:
            return programs.run(words, folder, limit_s, doing)
        except OSError as error:
            raise AgentError(BOARD, "trtexec cannot be run in %s: %s" % (folder, error))

    def _infer(self, data: Input, runs: int, seconds: float, warm_up_ms: int) -> Tuple[Any, Any]:
        """One process; what it exported as outputs and as times."""
        values, times = (os.path.join(self._folder, name) for name in ("out.json", "times.json"))
        for path in (values, times):
            if os.path.exists(path):
                os.unlink(path)
        with open(os.path.join(self._folder, "in.raw"), "wb") as file:
            file.write(data)
        words = [
            self._program,
            "--loadEngine=" + self._engine.path,
            "--loadInputs=%s:in.raw" % self._input,
            "--exportOutput=" + values,
            "--exportTimes=" + times,
            "--iterations=%d" % runs,
            "--duration=%d" % seconds,
            "--warmUp=%d" % warm_up_ms,
            "--exposeDMA",
            "--useSpinWait",
        ]
        ended = self._run(words, self._folder, seconds + RUN_S, "running trtexec")
        if ended.late:
            raise AgentError(
                BOARD, "trtexec %s; its last lines: %s" % (ended.how, ended.tail()), "hang"
            )
        try:
            return _read(values), _read(times)
        except (IOError, OSError, ValueError) as error:
            kind = BOARD if _memory(ended) else TOOLCHAIN
            raise AgentError(
                kind,
                "trtexec %s without an answer (%s); it says: %s"
                % (ended.how, error, _complaint(ended)),
            )

    def run(self, data: Input) -> Tuple[bytes, int]:
        exported, times = self._infer(data, 1, 0, 0)
        found = {each.get("name"): each.get("values") for each in exported}
        row: List[float] = []
        for name in self._wanted:
            values = found.get(name)
            if not isinstance(values, list):
                raise AgentError(TOOLCHAIN, "trtexec exported no usable output %r" % name)
            row += values
        if self.dim and len(row) != self.dim:
            raise AgentError(
                TOOLCHAIN,
                "trtexec exported no usable output %r: %d numbers, expected %d"
                % (", ".join(self._wanted), len(row), self.dim),
            )
        return struct.pack("<%df" % len(row), *row), compute_ns(times, 0)[-1]

    def times(self, data: Input, count: int, seconds: float) -> Tuple[List[int], List[int]]:
        """Many runs in one process, see `BaseRuntime.times`."""
        _, times = self._infer(data, count, max(1, int(seconds + 0.5)), WARM_UP_MS)
        return compute_ns(times, WARM_UP_MS), whole_ns(times, WARM_UP_MS)

    def close(self) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def compute_ns(times: Any, warm_up_ms: float) -> List[int]:
    """The engine's times of --exportTimes, without those that began within the warm-up.

    Raises:
        AgentError: `toolchain` when there are none.
    """
    return _column(times, "computeMs", warm_up_ms)


def whole_ns(times: Any, warm_up_ms: float) -> List[int]:
    """Copy in, engine and copy out: `latencyMs`."""
    return _column(times, "latencyMs", warm_up_ms)


def _column(times: Any, name: str, warm_up_ms: float) -> List[int]:
    found = []
    for each in times:
        value, begin = each.get(name), each.get("startComputeMs", warm_up_ms)
        if isinstance(value, (int, float)) and value >= 0 and begin >= warm_up_ms:
            found.append(int(value * 1e6))
    if not found:
        raise AgentError(TOOLCHAIN, "trtexec exported no %s" % name)
    return found


def _read(path: str) -> Any:
    with open(path) as file:
        text = file.read()
    # C++ prints what JSON has no word for.
    found = json.loads(_ODD.sub(lambda word: _WORDS[word.group(0).lstrip("-")], text))
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError("%s is no list of objects" % os.path.basename(path))
    return found


def _complaint(ended: programs.Ended) -> str:
    errors = [line for line in ended.lines if "[E]" in line]
    return " | ".join(errors[:4]) or ended.tail()


def _memory(ended: programs.Ended) -> bool:
    return "out of memory" in " ".join(ended.lines).lower()


def _numbers(version: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
