"""onnxruntime on whatever execution provider was asked for, and on no other.

Where anything but the CPU was asked for, one profiled run tells which provider runs each node:
nodes elsewhere than asked are an error, and so is a first provider that runs none. (A session's own
list of providers does not tell: one that takes no node stands in it too.)

Device time is wall time around the run. On the CPU and on unknown providers that is `session.run`,
copies of input and output included. On CUDA and TensorRT, input and output are bound in the GPU's
memory and the run is waited for: copies are outside of it, and inside of the end-to-end time.

Options:
    providers: list of names, each alone or as [name, {option: value}]; CPUExecutionProvider by
        default. Nodes may fall back to the CPU only when it is in the list.
    bound: bind input and output in the device's memory; by default on CUDA and TensorRT.
    intra_op_threads: 1 by default, 0 is onnxruntime's own choice.
    faithful: compute the dequantized graph in float32 instead of fusing QuantizeLinear and
        DequantizeLinear pairs into integer kernels, some of which saturate on x86 without VNNI.
        None: unless the interface says `integer_sums` and this processor adds them exactly.
    output: name of the output that is the feature; the first by default.
    interface: the artifact's; where it has several `outputs`, these make up the row, in its order.
"""

import importlib.util
import os
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ..host import arithmetic, gpu
from ..measurement import clock
from ..protocol.errors import BOARD, TOOLCHAIN, USER, AgentError
from ..session.preprocess import Preprocessor
from . import BaseRuntime, Descriptor, Input, check_shape, source_version
from .support import ort_loading, ort_nodes, outputs

CPU = ort_nodes.CPU
DESCRIPTOR = Descriptor(
    label="onnxruntime",
    providers=(CPU,),
    open_providers=True,
    gpu_providers=("CUDAExecutionProvider", "TensorrtExecutionProvider"),
    takes_onnx=True,
    concurrent=(CPU,),
    library_path=False,
    package="onnxruntime",
    distribution="onnxruntime",
)
ON_GPU = DESCRIPTOR.gpu_providers
_DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int8)": "int8"}


def probe(load: bool = False) -> Optional[Dict[str, Any]]:
    """Version, read from the installed package's source; providers only when it is loaded."""
    try:
        spec = importlib.util.find_spec("onnxruntime")
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin:
        return None
    if load:
        try:
            import onnxruntime
        except Exception as error:
            return {"version": "", "problem": "%s: %s" % (type(error).__name__, error)}
        return {
            "version": str(onnxruntime.__version__),
            "providers": list(onnxruntime.get_available_providers()),
        }
    return {"version": source_version(spec.origin)}


class Runtime(BaseRuntime):
    """One `InferenceSession`, batch 1."""

    def __init__(self, path: str, options: Mapping[str, Any], preprocessing: Preprocessor) -> None:
        try:
            import numpy
            import onnxruntime
        except Exception as error:
            # A broken installation raises whatever it likes.
            raise AgentError(
                BOARD,
                "onnxruntime cannot be loaded: %s: %s" % (type(error).__name__, error),
                "no-runtime",
            )
        self._numpy = numpy
        self.version = str(onnxruntime.__version__)
        asked = _asked(options.get("providers") or [CPU])
        names = [name for name, _ in asked]
        setup = self._setup(onnxruntime, options, names)
        session = self._open(onnxruntime, path, setup, asked)
        used = list(session.get_providers())
        for name in names:
            if name not in used:
                raise AgentError(
                    BOARD,
                    "%s was asked for, onnxruntime %s uses %s%s"
                    % (name, self.version, ", ".join(used), ort_loading.words(onnxruntime, name)),
                    "fallback",
                )
        self.provider = names[0]
        self._session = session
        self._describe(session, options, preprocessing)
        self._dtype = numpy.dtype(preprocessing.dtype)
        self._shape = preprocessing.shape
        if names != [CPU]:
            blank = numpy.zeros(self._shape, self._dtype)
            nodes = ort_nodes.placed(
                self._setup(onnxruntime, options, names),
                lambda given: self._open(onnxruntime, path, given, asked),
                {self._input: blank},
            )
            ort_nodes.check(names, nodes, self.version)
            self.provider, self.facts = ort_nodes.words(names[0], nodes)
        self._bound: Any = None
        if options.get("bound", names[0] in ON_GPU):
            device = "cuda" if names[0] in ON_GPU else "cpu"
            self._bind(onnxruntime, device)
        self.concurrent = names == [CPU] and self._bound is None and setup.intra_op_num_threads == 1
        self.facts = dict(
            self.facts,
            device_time="wall time of a bound run, without copies"
            if self._bound
            else "wall time of session.run, with copies of input and output",
            **(_gpu() if names[0] in ON_GPU else {}),
        )
        if not self.dim:
            self.dim = len(self.run(bytes(preprocessing.input_bytes))[0]) // 4

    def _setup(self, onnxruntime: Any, options: Mapping[str, Any], names: List[str]) -> Any:
        threads = options.get("intra_op_threads", 1)
        if isinstance(threads, bool) or not isinstance(threads, int) or not 0 <= threads <= 1024:
            raise AgentError(USER, "intra_op_threads is %r, expected 0 to 1024" % (threads,))
        setup = onnxruntime.SessionOptions()
        setup.log_severity_level = 3
        setup.intra_op_num_threads = threads
        setup.inter_op_num_threads = 1
        setup.add_session_config_entry("session.intra_op.allow_spinning", "0")
        setup.add_session_config_entry("session.inter_op.allow_spinning", "0")
        if options.get("faithful", False) is not False:
            # Else pairs one behind the other become one, of another scale.
            setup.add_session_config_entry("session.disable_double_qdq_remover", "1")
        if _faithful(options):
            setup.add_session_config_entry("session.disable_quant_qdq", "1")
        if CPU not in names:
            # Older versions do not know it; the profile of a run tells then.
            setup.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        return setup

    def _open(
        self,
        onnxruntime: Any,
        path: str,
        setup: Any,
        asked: List[Tuple[str, Dict[str, Any]]],
    ) -> Any:
        available = onnxruntime.get_available_providers()
        for name, _ in asked:
            if name not in available:
                raise AgentError(
                    BOARD,
                    "%s was asked for; this onnxruntime %s has %s"
                    % (name, self.version, ", ".join(available)),
                    "no-provider",
                )
        names = [name for name, _ in asked]
        try:
            session = onnxruntime.InferenceSession(
                path, setup, providers=names, provider_options=[given for _, given in asked]
            )
        except Exception as error:
            gone = "" if CPU in names else ort_loading.not_loaded(onnxruntime, path, names)
            if gone:
                raise AgentError(
                    BOARD,
                    "%s was asked for, and this onnxruntime %s cannot load it%s"
                    % (gone, self.version, ort_loading.words(onnxruntime, gone)),
                    "fallback",
                )
            if "fallback to CPU EP has been explicitly disabled" in str(error):
                raise AgentError(
                    TOOLCHAIN,
                    "only %s was asked for, but onnxruntime %s has nodes that it must run on the "
                    "CPU; put %s into `providers` to allow that"
                    % (", ".join(names), self.version, CPU),
                    "fallback",
                )
            raise AgentError(
                TOOLCHAIN,
                "onnxruntime %s refuses %s: %s" % (self.version, os.path.basename(path), error),
            )
        session.disable_fallback()
        return session

    def _describe(
        self, session: Any, options: Mapping[str, Any], preprocessing: Preprocessor
    ) -> None:
        self.inputs = [_tensor(each) for each in session.get_inputs()]
        self.outputs = [_tensor(each) for each in session.get_outputs()]
        if len(self.inputs) != 1:
            found = ", ".join(each["name"] for each in self.inputs)
            raise AgentError(USER, "the model has the inputs %s, expected one" % found)
        check_shape(self.inputs[0]["shape"], self.inputs[0]["dtype"], preprocessing)
        names = [each["name"] for each in self.outputs]
        self._input, self._wanted = self.inputs[0]["name"], outputs.chosen(options, names)
        counts = [_count(self.outputs[names.index(name)]["shape"]) for name in self._wanted]
        if None not in counts:
            self.dim = sum(count for count in counts if count is not None)

    def _bind(self, onnxruntime: Any, device: str) -> None:
        blank = self._numpy.zeros(self._shape, self._dtype)
        self._there = onnxruntime.OrtValue.ortvalue_from_numpy(blank, device, 0)
        self._bound = self._session.io_binding()
        self._bound.bind_ortvalue_input(self._input, self._there)
        for name in self._wanted:
            self._bound.bind_output(name, device, 0)

    def run(self, data: Input) -> Tuple[bytes, int]:
        array = self._numpy.frombuffer(data, dtype=self._dtype).reshape(self._shape)
        if self._bound is not None:
            return self._run_bound(array)
        feed, wanted, run = {self._input: array}, self._wanted, self._session.run
        begin = clock.now_ns()
        result = run(wanted, feed)
        took = clock.now_ns() - begin
        return self._row(result), took

    def _run_bound(self, array: Any) -> Tuple[bytes, int]:
        bound, run = self._bound, self._session.run_with_iobinding
        self._there.update_inplace(array)
        bound.synchronize_inputs()
        begin = clock.now_ns()
        run(bound)
        bound.synchronize_outputs()
        took = clock.now_ns() - begin
        return self._row([each.numpy() for each in bound.get_outputs()]), took

    def _row(self, arrays: List[Any]) -> bytes:
        tobytes = [self._numpy.ascontiguousarray(each, dtype="<f4").tobytes() for each in arrays]
        return tobytes[0] if len(tobytes) == 1 else b"".join(tobytes)

    def close(self) -> None:
        self._bound = self._there = self._session = None


def _faithful(options: Mapping[str, Any]) -> bool:
    asked = options.get("faithful", False)
    if asked is not None:
        return bool(asked)
    interface = options.get("interface") or {}
    integers = isinstance(interface, dict) and interface.get("integer_sums") is True
    return not (integers and arithmetic.exact_integers())


def _asked(providers: Any) -> List[Tuple[str, Dict[str, Any]]]:
    asked = []
    for each in providers if isinstance(providers, list) else [providers]:
        name, given = each if isinstance(each, list) and len(each) == 2 else (each, {})
        if not isinstance(name, str) or not isinstance(given, dict):
            raise AgentError(USER, "providers holds %.80r, expected a name" % (each,))
        asked.append((name, given))
    return asked


def _tensor(value: Any) -> Dict[str, Any]:
    shape = [size if isinstance(size, int) and size > 0 else None for size in value.shape]
    return {
        "name": value.name,
        "shape": shape,
        "dtype": _DTYPES.get(value.type, value.type),
    }


def _count(shape: List[Optional[int]]) -> Optional[int]:
    """Numbers an image; None where a size is free."""
    sizes = shape[1:] if len(shape) > 1 else shape
    count = 1
    for size in sizes:
        if size is None:
            return None
        count *= size
    return count if sizes else None


def _gpu() -> Dict[str, Any]:
    """The first CUDA device, as far as libcudart can be asked; the GPU's name else from files."""
    from .trt.cuda import Cuda

    try:
        cuda = Cuda()
        try:
            return cuda.device()
        finally:
            cuda.close()
    except AgentError:
        return {"gpu": gpu.name()}
