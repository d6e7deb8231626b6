"""A module `tensorrt` with the names of a real version and no others, and a checkable computation.

What it shows: which names the adapter touches and in which order, with which types; never what
TensorRT computes. A name that the version's list (`tensorrt_names/`) does not have raises
AttributeError; one that it has and this file does not do raises NotImplementedError.

The feature is sum over i of input[i] * weight(i, k), with small whole weights that come from the
ONNX file's hash: exact in float32 for whole inputs. It is computed on "device" memory of
`cudart_shim.c`, when the stream is waited for.

With `onnxruntime` set it is what onnxruntime makes of the file in float32 instead.

`FAKE_TENSORRT` in the environment, JSON or the path of such a file: `version`, `input` and `output`
([name, shape]), `half` (types as float16), `mode` (how it fails), `ms` (time of the engine), `log`
(file of calls).
"""

import ctypes
import hashlib
import json
import os
import struct
import sys
import time
import types

HERE = os.path.dirname(os.path.abspath(__file__))


def weight(seed, i, k):
    """A whole number of -4 to 4."""
    return (seed[(i * 7 + k * 13) % 32] + i * 31 + k * 17) % 9 - 4


def names_of(version):
    """Class (or `module`) to its names."""
    path = os.path.join(HERE, "tensorrt_names", version + ".txt")
    with open(path) as file:
        lines = [line.split() for line in file if line.strip()]
    return {words[0]: set(words[1:]) for words in lines}


class Enum:
    def __init__(self, owner, name, value):
        self.owner, self.name, self.value = owner, name, value

    def __int__(self):
        return self.value

    def __eq__(self, other):
        return isinstance(other, Enum) and (self.owner, self.value) == (other.owner, other.value)

    def __hash__(self):
        return hash((self.owner, self.value))

    def __str__(self):
        return "%s.%s" % (self.owner, self.name)


def holds_half(data):
    """Whether an ONNX file has float16 weights."""
    import onnx

    weights = onnx.load_model_from_string(data).graph.initializer
    return any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in weights)


class Fake:
    """Builds the module for one version."""

    def __init__(self, settings):
        self.s = settings
        self.version = settings["version"]
        self.names = names_of(self.version)
        self.mode = settings.get("mode", "")
        self.old = "num_io_tensors" not in self.names["ICudaEngine"]
        self.shim = ctypes.CDLL(os.environ.get("FAKE_CUDART", "libcudart.so.12"))
        self.shim.shim_on_device.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        self.work_type = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        self.shim.shim_enqueue.argtypes = [ctypes.c_void_p, self.work_type, ctypes.c_void_p]
        self.kept = []

    def called(self, what):
        if self.s.get("log"):
            with open(self.s["log"], "a") as file:
                file.write(what + "\n")

    def guarded(self, name, members, base=object):
        """A class whose instances have exactly the version's names."""
        listed = self.names[name]
        hidden = [m for m in members if not m.startswith("_") and m not in listed]
        kept = {key: value for key, value in members.items() if key not in hidden}

        def missing(self, attribute):
            if attribute in listed:
                raise NotImplementedError("%s.%s is listed, not faked" % (name, attribute))
            raise AttributeError("%s has no %r in this version" % (name, attribute))

        def assign(self, attribute, value):
            if not attribute.startswith("_") and attribute not in listed:
                raise AttributeError("%s has no %r in this version" % (name, attribute))
            object.__setattr__(self, attribute, value)

        kept["__getattr__"], kept["__setattr__"] = missing, assign
        return type(name, (base,), kept)

    def enum(self, name):
        words = sorted(self.names[name] - {"name", "value", "itemsize"})
        if name == "NetworkDefinitionCreationFlag":
            words.sort(key=lambda word: word != "EXPLICIT_BATCH")  # it is 0 in TensorRT
        return type(name, (), {w: Enum(name, w, i) for i, w in enumerate(words)})

    def module(self):
        fake, s = self, self.s
        module = types.ModuleType("tensorrt")
        listed = self.names["module"]

        class Guard(types.ModuleType):
            def __getattr__(self, attribute):
                if attribute in listed:
                    raise NotImplementedError("tensorrt.%s is listed, not faked" % attribute)
                raise AttributeError("tensorrt %s has no %r" % (fake.version, attribute))

        made = {"__version__": self.version}
        for name in (
            "BuilderFlag",
            "DataType",
            "MemoryPoolType",
            "TensorIOMode",
            "NetworkDefinitionCreationFlag",
            "ProfilingVerbosity",
            "LayerInformationFormat",
        ):
            if name in self.names and name in listed:
                made[name] = self.enum(name)
        severity = (
            self.enum("Severity")
            if "Severity" in self.names
            else type(
                "Severity",
                (),
                {
                    w: Enum("Severity", w, i)
                    for i, w in enumerate(["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"])
                },
            )
        )
        members = {w: getattr(severity, w) for w in vars(severity) if w.isupper()}

        class ILogger:
            def __init__(self):
                self._made = True

        def tell(logger, kind, words):
            if not getattr(logger, "_made", False):
                raise TypeError("__init__() must be called when overriding __init__")
            logger.log(getattr(severity, kind), words)

        made["ILogger"] = ILogger
        made["Logger"] = type("Logger", (ILogger,), dict(members, Severity=severity))

        class Network:
            pass

        def builder_init(self, logger):
            object.__setattr__(self, "_logger", logger)
            if fake.mode == "no-cuda":
                tell(logger, "ERROR", "CUDA initialization failure with error: 35")
                raise TypeError("pybind11::init(): factory function returned nullptr")
            if fake.mode == "odd":
                raise KeyError("what nobody thought of")

        def create_network(self, flags=0):
            explicit = 1 << 0
            if fake.version.startswith("8.") and flags != explicit:
                raise RuntimeError("implicit batch: ONNX needs EXPLICIT_BATCH")
            return fake.guarded("INetworkDefinition", {"num_layers": 7})()

        def create_builder_config(self):
            def set_flag(self, flag):
                self._flags.add(flag.name)

            def clear_flag(self, flag):
                self._cleared.add(flag.name)

            def set_memory_pool_limit(self, pool, size):
                if pool.name != "WORKSPACE" or not isinstance(size, int):
                    raise TypeError("set_memory_pool_limit(pool, int)")
                object.__setattr__(self, "_workspace", size)

            kind = fake.guarded(
                "IBuilderConfig",
                {
                    "set_flag": set_flag,
                    "clear_flag": clear_flag,
                    "set_memory_pool_limit": set_memory_pool_limit,
                    "_workspace": 0,
                },
            )
            config = kind()
            object.__setattr__(config, "_flags", set())
            object.__setattr__(config, "_cleared", set())
            return config

        def build_serialized_network(self, network, config):
            fake.called("build")
            tell(self._logger, "INFO", "building")
            if fake.mode == "build-none":
                tell(
                    self._logger, "ERROR", "10: Could not find any implementation for node Conv_0."
                )
                return None
            if fake.mode == "build-memory":
                tell(self._logger, "ERROR", "Requested amount of GPU memory: out of memory.")
                return None
            if fake.mode == "build-hangs":
                time.sleep(600)
            if fake.mode == "build-slow":
                time.sleep(4)
            if fake.mode == "build-dies":
                os.kill(os.getpid(), 11)
            size = (
                getattr(config, "max_workspace_size", 0)
                if fake.old and not hasattr(config, "set_memory_pool_limit")
                else config._workspace
            )
            facts = {
                "version": fake.version,
                "gpu": os.environ.get("SHIM_GPU", "Xavier"),
                "seed": network._seed,
                "flags": sorted(config._flags),
                "cleared": sorted(config._cleared),
                "workspace": size,
                "qdq": network._qdq,
            }
            if (network._qdq) != ("INT8" in config._flags):
                raise RuntimeError("explicit int8 and BuilderFlag.INT8 do not fit")
            if s.get("onnxruntime") and "FP16" not in config._flags and holds_half(network._data):
                raise RuntimeError("float16 weights, and float16 is not allowed")
            model = b"\0" + network._data if s.get("onnxruntime") else b""
            return bytearray(b"FAKEPLAN" + json.dumps(facts).encode() + model)

        made["Builder"] = self.guarded(
            "Builder",
            {
                "__init__": builder_init,
                "create_network": create_network,
                "create_builder_config": create_builder_config,
                "build_serialized_network": build_serialized_network,
                "platform_has_fast_int8": self.mode != "no-int8",
            },
        )

        def parser_init(self, network, logger):
            object.__setattr__(self, "_network", network)
            object.__setattr__(self, "_logger", logger)

        def parse(self, data):
            if not isinstance(data, bytes):
                raise TypeError("parse(model: bytes)")
            if fake.mode == "parse":
                tell(self._logger, "ERROR", "ModelImporter.cpp: ERROR: failed")
                return False
            self._network._seed = hashlib.sha256(data).hexdigest()
            self._network._qdq = b"QuantizeLinear" in data
            self._network._data = data
            return True

        def get_error(self, index):
            return fake.guarded(
                "ParserError",
                {
                    "node": lambda self: 1,
                    "desc": lambda self: "No importer registered for op: Abacus",
                    "code": lambda self: 8,
                },
            )()

        made["OnnxParser"] = self.guarded(
            "OnnxParser",
            {
                "__init__": parser_init,
                "parse": parse,
                "get_error": get_error,
                "num_errors": 1,
            },
        )

        def runtime_init(self, logger):
            object.__setattr__(self, "_logger", logger)

        def deserialize(self, data):
            data = bytes(data)
            text, _, model = data[8:].partition(b"\0")
            facts = json.loads(text.decode()) if data.startswith(b"FAKEPLAN") else {}
            fake.model = model
            gpu = os.environ.get("SHIM_GPU", "Xavier")
            if (facts.get("version"), facts.get("gpu")) != (fake.version, gpu):
                tell(
                    self._logger,
                    "ERROR",
                    "The engine plan file is not compatible with this version",
                )
                return None
            if fake.mode == "never-loads":
                tell(self._logger, "ERROR", "Serialization assertion failed")
                return None
            return fake.engine(made, facts, self._logger)

        made["Runtime"] = self.guarded(
            "Runtime",
            {
                "__init__": runtime_init,
                "deserialize_cuda_engine": deserialize,
            },
        )
        for name, value in made.items():
            if name != "__version__" and name not in listed:
                raise AssertionError(name)
            setattr(module, name, value)
        module.__class__ = Guard
        return module

    def engine(self, made, facts, logger):
        fake, s = self, self.s
        types_ = made["DataType"]
        if s.get("onnxruntime"):
            session = self.session()
            s["input"] = [session.get_inputs()[0].name, session.get_inputs()[0].shape]
            s["output"] = [session.get_outputs()[0].name, session.get_outputs()[0].shape]
        dtype = types_.HALF if s.get("half") else types_.FLOAT
        if fake.mode == "int-output":
            dtype = types_.INT32
        tensors = [
            (s["input"][0], True, s["input"][1], types_.HALF if s.get("half") else types_.FLOAT),
            (s["output"][0], False, s["output"][1], dtype),
        ]
        by_name = {each[0]: each for each in tensors}

        def create_execution_context(self):
            if fake.mode == "no-context":
                logger.log(made["Logger"].ERROR, "Cuda error 2: out of memory")
                return None
            return fake.context(made, facts, tensors, by_name)

        def inspector(self):
            layers = [
                {"Outputs": [{"Format/Datatype": "Row major linear FP32 format"}]},
                "a layer without detail",
            ]
            if fake.mode == "layers":
                layers = [
                    {"Outputs": [{"Format/Datatype": "Thirty-two wide channel vectorized Int8"}]},
                    {"Outputs": [{"Format/Datatype": "Row major linear Float"}]},
                ]
            return fake.guarded(
                "EngineInspector",
                {"get_engine_information": lambda self, kind: json.dumps({"Layers": layers})},
            )()

        return self.guarded(
            "ICudaEngine",
            {
                "create_execution_context": create_execution_context,
                "create_engine_inspector": inspector,
                "num_io_tensors": 2,
                "num_bindings": 2,
                "get_tensor_name": lambda self, i: tensors[i][0],
                "get_tensor_mode": lambda self, n: getattr(
                    made["TensorIOMode"], "INPUT" if by_name[n][1] else "OUTPUT"
                ),
                "get_tensor_shape": lambda self, n: tuple(by_name[n][2]),
                "get_tensor_dtype": lambda self, n: by_name[n][3],
                "get_binding_name": lambda self, i: tensors[i][0],
                "binding_is_input": lambda self, i: tensors[i][1],
                "get_binding_shape": lambda self, i: tuple(tensors[i][2]),
                "get_binding_dtype": lambda self, i: tensors[i][3],
            },
        )()

    def session(self):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        return onnxruntime.InferenceSession(self.model, options, ["CPUExecutionProvider"])

    def context(self, made, facts, tensors, by_name):
        fake, s = self, self.s
        places = {}
        half = made["DataType"].HALF

        def volume(shape):
            count = 1
            for size in shape:
                count *= size
            return count

        session = self.session() if s.get("onnxruntime") else None

        def run(stream, addresses):
            if type(stream) is not int:
                raise TypeError("stream_handle: int")
            sizes = [volume(t[2]) * (2 if t[3] == half else 4) for t in tensors]
            for address, size in zip(addresses, sizes):
                if type(address) is not int or not fake.shim.shim_on_device(address, size):
                    raise RuntimeError("%r is no device memory of %d bytes" % (address, size))
            seed = bytearray(bytes.fromhex(facts["seed"]))
            source, result = addresses

            def work(_):
                count, dim = volume(tensors[0][2]), volume(tensors[1][2])
                kind = "e" if tensors[0][3] == half else "f"
                raw = ctypes.string_at(source, sizes[0])
                values = struct.unpack("<%d%s" % (count, kind), raw)
                time.sleep(s.get("ms", 0) / 1e3)
                if session is not None:
                    import numpy

                    given = numpy.frombuffer(raw, "<f4").reshape(tensors[0][2])
                    raw = session.run([tensors[1][0]], {tensors[0][0]: given})[0].tobytes()
                    ctypes.memmove(result, raw, len(raw))
                    return
                out = [
                    sum(v * weight(seed, i, k) for i, v in enumerate(values) if v)
                    for k in range(dim)
                ]
                kind = "e" if tensors[1][3] == half else "f"
                raw = struct.pack("<%d%s" % (dim, kind), *out)
                ctypes.memmove(result, raw, len(raw))

            callback = fake.work_type(work)
            fake.kept[:] = fake.kept[-3:] + [callback]
            return fake.shim.shim_enqueue(stream, callback, None) == 0

        def set_tensor_address(self, name, memory):
            if not isinstance(name, str) or type(memory) is not int:
                raise TypeError("set_tensor_address(name: str, memory: int)")
            places[name] = memory
            return True

        def execute_async_v3(self, stream_handle):
            fake.called("v3")
            return run(stream_handle, [places[t[0]] for t in tensors])

        def execute_async_v2(self, bindings, stream_handle):
            fake.called("v2")
            if fake.mode == "run-fails":
                return False
            return run(stream_handle, list(bindings))

        return self.guarded(
            "IExecutionContext",
            {
                "set_tensor_address": set_tensor_address,
                "execute_async_v3": execute_async_v3,
                "execute_async_v2": execute_async_v2,
            },
        )()


def module():
    """The module that `tensorrt/__init__.py` of a test becomes."""
    text = os.environ["FAKE_TENSORRT"]
    if not text.startswith("{"):
        with open(text) as file:
            text = file.read()
    settings = json.loads(text)
    if settings.get("mode") == "import":
        raise ImportError("libnvinfer.so.8: cannot open shared object file")
    return Fake(settings).module()


def install(folder, version):
    """Write a package `tensorrt` into `folder`, which belongs on PYTHONPATH."""
    place = os.path.join(str(folder), "tensorrt")
    os.makedirs(place)
    with open(os.path.join(place, "__init__.py"), "w") as file:
        file.write(
            "import sys\nsys.path.insert(0, %r)\nimport fake_tensorrt\n"
            "__version__ = %r\nsys.modules[__name__] = fake_tensorrt.module()\n" % (HERE, version)
        )
    return str(folder)


if __name__ == "__main__":
    print(sys.version)
