"""Native runtimes behind one protocol. Nothing of a vendor is loaded before it is asked for.

Each file here is a runtime of its name: `DESCRIPTOR`, `probe` and `Runtime`. What runtimes are made
of is in the folders `support` and `trt`. The orchestrator reads the descriptors, too.
"""

import importlib
import importlib.util
import pkgutil
import platform
import re
from typing import Any, Dict, List, Mapping, Optional, Tuple, Type, Union

from ..protocol.errors import BOARD, AgentError
from ..session.preprocess import Preprocessor

Input = Union[bytes, bytearray]

BOARD_ROLE, SIMULATOR, TRIAL = "board", "simulator", "trial"


class Descriptor(object):
    """What farm must know of a runtime without opening it.

    Attributes:
        label: its name in tables.
        role: `board`; `simulator`, a vendor's program that executes on the head; `trial`, for
            trying a link or a farm, which no inventory names.
        providers: what of it executes a model, as an inventory names it; the usual one first.
        open_providers: there are more, by names of the installed build.
        gpu_providers: those that compute on an NVIDIA GPU, whose model then decides the features.
        takes_onnx: whether it takes ONNX files as they are, so that a check can prove it.
        builds: whether it makes what it runs on the board itself, which takes minutes.
        threads: whether it takes a number of threads.
        concurrent: providers of which several runs may be under way at a time.
        simulator: the runtime that executes its vendor's files on the head; empty without one.
        library_path: whether an inventory may say where its library is.
        libraries: its shared libraries; a board that has one of them has the runtime.
        package: its Python package; `distribution`: what that is called in `*.dist-info`, from the
            beginning.
    """

    def __init__(
        self,
        label: str,
        providers: Tuple[str, ...],
        role: str = BOARD_ROLE,
        open_providers: bool = False,
        gpu_providers: Tuple[str, ...] = (),
        takes_onnx: bool = False,
        builds: bool = False,
        threads: bool = True,
        concurrent: Tuple[str, ...] = (),
        simulator: str = "",
        library_path: bool = True,
        libraries: Tuple[str, ...] = (),
        package: str = "",
        distribution: str = "",
    ) -> None:
        self.label = label
        self.providers = providers
        self.role = role
        self.open_providers = open_providers
        self.gpu_providers = gpu_providers
        self.takes_onnx = takes_onnx
        self.builds = builds
        self.threads = threads
        self.concurrent = concurrent
        self.simulator = simulator
        self.library_path = library_path
        self.libraries = libraries
        self.package = package
        self.distribution = distribution


class BaseRuntime(object):
    """A loaded model in one process, the runtime child.

    Everything runs in its main thread; where `concurrent`, several threads may call `run`.

    Args:
        path: the artifact, already verified.
        options: from the job; each runtime documents its own.
        preprocessing: says the shape and type of what `run` will be given.

    Attributes:
        inputs, outputs: `name`, `shape` (None where free) and `dtype` of each.
        dim: length of the feature.
        version: the runtime's own version.
        provider: what executes: `CPUExecutionProvider`, `TIMVX`, ...
        facts: what else belongs into a result's provenance: the device, how the file was built.
        in_blocks: single runs say nothing of its speed; `times` is asked instead.
        concurrent: whether several runs may be under way at a time, each on one processor.

    Raises:
        AgentError: `board` when the runtime or a provider is missing; `toolchain` when it refuses
            the artifact; `user` when the preprocessing does not fit the model.
    """

    inputs: List[Dict[str, Any]] = []
    outputs: List[Dict[str, Any]] = []
    dim = 0
    version = ""
    provider = ""
    facts: Dict[str, Any] = {}
    in_blocks = False
    concurrent = False

    def __init__(self, path: str, options: Mapping[str, Any], preprocessing: Preprocessor) -> None:
        raise NotImplementedError

    def run(self, data: Input) -> Tuple[bytes, int]:
        """The feature of one prepared input, and the device time.

        Returns:
            `dim` little-endian float32, and nanoseconds inside the native run call.

        Raises:
            AgentError: nothing more can be run.
            Exception: this image failed; the next may work.
        """
        raise NotImplementedError

    def times(self, data: Input, count: int, seconds: float) -> Tuple[List[int], List[int]]:
        """Where `in_blocks`: device and end-to-end nanoseconds of runs of one prepared input.

        Args:
            count: at least so many.
            seconds: for at least so long.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Give back what the runtime holds."""


def variable(name: str) -> str:
    """The environment variable that names a runtime's library on this board."""
    return "FARM_%s_LIB" % name.upper()


def names() -> List[str]:
    """The runtimes of this agent, sorted; loads none."""
    return sorted(name for _, name, is_folder in pkgutil.iter_modules(__path__) if not is_folder)


def descriptor(name: str) -> Descriptor:
    """What is known of a runtime.

    Raises:
        AgentError: `board`, there is none of that name.
    """
    found: Descriptor = _module(name).DESCRIPTOR
    return found


def _module(name: str) -> Any:
    known = names()
    if name not in known:
        raise AgentError(
            BOARD, "no runtime %r in this agent; it knows %s" % (name, ", ".join(known))
        )
    try:
        return importlib.import_module("." + name, __name__)
    except ImportError as error:
        # Images for small boards have Pythons that were built without a part, such as ctypes.
        raise AgentError(
            BOARD,
            "%s cannot run here: Python %s on this board lacks the module %s; install it, or name "
            "another Python by `python` in the inventory"
            % (name, platform.python_version(), error.name or error),
            "no-runtime",
        )


def probe(name: str, load: bool = False) -> Optional[Dict[str, Any]]:
    """A runtime that is installed here: `version`, and `providers` where known; None without it.

    Args:
        load: import it to know more; slow, and not for the session's own process.

    Raises:
        AgentError: `board`, this Python cannot run it, or there is none of that name.
    """
    found: Optional[Dict[str, Any]] = _module(name).probe(load)
    return found


def available(load: bool = False) -> Dict[str, Dict[str, Any]]:
    """The runtimes that are installed here: `version`, and `providers` where known.

    Args:
        load: import them to know more; slow, and not for the session's own process.
    """
    found = {}
    for name in names():
        facts: Optional[Dict[str, Any]]
        try:
            facts = probe(name, load)
        except AgentError as error:
            facts = {"version": "", "problem": error.message}
        if facts is not None:
            found[name] = facts
    return found


def open_runtime(
    name: str, path: str, options: Mapping[str, Any], preprocessing: Preprocessor
) -> BaseRuntime:
    """Load an artifact into a runtime.

    Raises:
        AgentError: see `BaseRuntime`.
    """
    runtime: Type[BaseRuntime] = _module(name).Runtime
    return runtime(path, options, preprocessing)


def source_version(path: str) -> str:
    """`__version__` as a package's source has it, without importing it; empty when it has none.

    NVIDIA's `tensorrt` takes it from the package of its bindings.
    """
    try:
        with open(path, "rb") as file:
            source = file.read(1 << 16).decode("utf-8", "replace")
    except (IOError, OSError):
        return ""
    found = re.search(r"^__version__\s*=\s*['\"]([^'\"]+)", source, re.MULTILINE)
    if found:
        return found.group(1)
    taken = re.search(r"^from (\w+) import __version__$", source, re.MULTILINE)
    try:
        spec = importlib.util.find_spec(taken.group(1)) if taken else None
    except (ImportError, ValueError):
        return ""
    return source_version(spec.origin) if spec and spec.origin and spec.origin != path else ""


def check_shape(shape: List[Optional[int]], dtype: str, preprocessing: Preprocessor) -> None:
    """Compare a model's input with what preprocessing makes.

    Args:
        shape: the model's input, None where it is free.

    Raises:
        AgentError: `user`, with both shapes.
    """
    prepared = preprocessing.shape
    fits = len(shape) == len(prepared) and all(
        want in (None, prepared[axis]) for axis, want in enumerate(shape)
    )
    if not fits or dtype != preprocessing.dtype:
        raise AgentError(
            "user",
            "the model takes %s %s, the preprocessing makes %s %s (%s)"
            % (
                dtype,
                [size if size is not None else "free" for size in shape],
                preprocessing.dtype,
                prepared,
                preprocessing.layout,
            ),
        )
