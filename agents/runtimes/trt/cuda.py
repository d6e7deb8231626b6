"""Device memory, streams and events of CUDA through libcudart, without pycuda.

The declarations are those of the CUDA runtime API, which are the same from 10.2 to 13: every call
returns 0 or an error number, sizes are size_t, handles are pointers. `cudaDeviceProp` begins with
`char name[256]` in all of them; nothing behind it is read.
"""

import ctypes as C
import glob
import os
from typing import Any, Dict, List

from ...protocol.errors import BOARD, TRANSIENT, AgentError

HOST_TO_DEVICE, DEVICE_TO_HOST = 1, 2
OUT_OF_MEMORY = 2
_NO_DEVICE = (35, 38, 100)  # driver too old, no device (before CUDA 10.1 and since)
_PROPERTIES_BYTES = 16384  # far more than any version's structure, which is about 1 KiB
_MULTIPROCESSORS, _MAJOR, _MINOR = 16, 75, 76
_NAMES = (
    "libcudart.so",
    "libcudart.so.13",
    "libcudart.so.12",
    "libcudart.so.11.0",
    "libcudart.so.10.2",
)
_FOLDERS = (
    "/usr/local/cuda/lib64",
    "/usr/local/cuda/targets/*/lib",
    "/usr/local/cuda-*/lib64",
    "/usr/local/cuda-*/targets/*/lib",
)
_POINTER = C.POINTER(C.c_void_p)
_SIGNATURES = {
    "cudaMalloc": (_POINTER, C.c_size_t),
    "cudaFree": (C.c_void_p,),
    "cudaMemcpyAsync": (C.c_void_p, C.c_void_p, C.c_size_t, C.c_int, C.c_void_p),
    "cudaStreamCreate": (_POINTER,),
    "cudaStreamSynchronize": (C.c_void_p,),
    "cudaStreamDestroy": (C.c_void_p,),
    "cudaEventCreate": (_POINTER,),
    "cudaEventRecord": (C.c_void_p, C.c_void_p),
    "cudaEventElapsedTime": (C.POINTER(C.c_float), C.c_void_p, C.c_void_p),
    "cudaEventDestroy": (C.c_void_p,),
    "cudaGetDeviceCount": (C.POINTER(C.c_int),),
    "cudaGetDeviceProperties": (C.c_void_p, C.c_int),
    "cudaDeviceGetAttribute": (C.POINTER(C.c_int), C.c_int, C.c_int),
    "cudaRuntimeGetVersion": (C.POINTER(C.c_int),),
    "cudaDriverGetVersion": (C.POINTER(C.c_int),),
}


def find(library: str = "") -> str:
    """What to load as libcudart: `library` when given, else a name or path that loads.

    Raises:
        AgentError: `board`, naming every place that was tried.
    """
    tried = [library] if library else list(_NAMES)
    if not library:
        for folder in _FOLDERS:
            tried += sorted(glob.glob(os.path.join(folder, "libcudart.so*")), reverse=True)
    problem = ""
    for name in tried:
        try:
            C.CDLL(name)
            return name
        except OSError as error:
            problem = problem or str(error)
    raise AgentError(
        BOARD,
        "libcudart cannot be loaded (tried %s: %s); install CUDA's runtime, on a Jetson: apt-get "
        "install nvidia-cuda, or name the file as `library` of the board's runtime"
        % (", ".join(tried), problem),
        "no-runtime",
    )


class Cuda(object):
    """The first CUDA device. What is made through this is given back by `close`.

    Raises:
        AgentError: `board` when there is no library, no device or no memory; `transient` when a
            call failed after which CUDA answers nothing in this process any more.
    """

    def __init__(self, library: str = "") -> None:
        self.library = find(library)
        self._dll = C.CDLL(self.library)
        self._memory: List[int] = []
        self._streams: List[int] = []
        self._events: List[int] = []
        for name, arguments in _SIGNATURES.items():
            function = self._function(name)
            function.argtypes, function.restype = list(arguments), C.c_int
        for name in ("cudaGetErrorName", "cudaGetErrorString"):
            function = self._function(name)
            function.argtypes, function.restype = [C.c_int], C.c_char_p

    def _function(self, name: str) -> Any:
        try:
            return getattr(self._dll, name)
        except AttributeError:
            raise AgentError(
                BOARD, "%s has no %s: is it CUDA's runtime?" % (self.library, name), "no-runtime"
            )

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function and check what it returns."""
        status = int(getattr(self._dll, name)(*arguments))
        if status:
            raise self._error(name, status)

    def _error(self, name: str, status: int) -> AgentError:
        words = "%s (%s)" % (
            self._dll.cudaGetErrorString(status).decode("utf-8", "replace"),
            self._dll.cudaGetErrorName(status).decode("utf-8", "replace"),
        )
        message = "%s failed with %d: %s" % (name, status, words)
        if status == OUT_OF_MEMORY:
            return AgentError(
                BOARD,
                "the GPU's memory is full: %s; a Jetson shares it with its processor: stop what "
                "else runs there, a desktop included" % message,
                "no-memory",
            )
        if status in _NO_DEVICE:
            return AgentError(
                BOARD, "no usable CUDA device: %s; does the driver run?" % message, "no-device"
            )
        return AgentError(TRANSIENT, message, "cuda")

    def _number(self, name: str, *arguments: Any) -> int:
        value = C.c_int()
        self.call(name, C.byref(value), *arguments)
        return value.value

    def device(self) -> Dict[str, Any]:
        """What the device is: `gpu`, `compute_capability`, `multiprocessors`, `cuda` (of this
        library) and `cuda_driver` (the newest that the driver can do)."""
        if self._number("cudaGetDeviceCount") < 1:
            raise AgentError(BOARD, "CUDA finds no device", "no-device")
        properties = C.create_string_buffer(_PROPERTIES_BYTES)
        self.call("cudaGetDeviceProperties", properties, 0)
        name = properties.raw[:256].split(b"\0", 1)[0].decode("utf-8", "replace")
        major = self._number("cudaDeviceGetAttribute", _MAJOR, 0)
        minor = self._number("cudaDeviceGetAttribute", _MINOR, 0)
        return {
            "gpu": name,
            "compute_capability": "%d.%d" % (major, minor),
            "multiprocessors": self._number("cudaDeviceGetAttribute", _MULTIPROCESSORS, 0),
            "cuda": _version(self._number("cudaRuntimeGetVersion")),
            "cuda_driver": _version(self._number("cudaDriverGetVersion")),
        }

    def malloc(self, size: int) -> int:
        """Device memory of `size` bytes, as an address."""
        pointer = C.c_void_p()
        self.call("cudaMalloc", C.byref(pointer), size)
        self._memory.append(int(pointer.value or 0))
        return self._memory[-1]

    def stream(self) -> int:
        """A new stream."""
        handle = C.c_void_p()
        self.call("cudaStreamCreate", C.byref(handle))
        self._streams.append(int(handle.value or 0))
        return self._streams[-1]

    def event(self) -> int:
        """A new event, with time."""
        handle = C.c_void_p()
        self.call("cudaEventCreate", C.byref(handle))
        self._events.append(int(handle.value or 0))
        return self._events[-1]

    def copy(self, to: int, source: int, size: int, kind: int, stream: int) -> None:
        """Queue a copy of `size` bytes between addresses."""
        self.call("cudaMemcpyAsync", to, source, size, kind, stream)

    def record(self, event: int, stream: int) -> None:
        """Queue an event."""
        self.call("cudaEventRecord", event, stream)

    def wait(self, stream: int) -> None:
        """Wait until all that was queued is done."""
        self.call("cudaStreamSynchronize", stream)

    def elapsed_ns(self, begin: int, end: int) -> int:
        """Nanoseconds between two events; CUDA's own resolution is about half a microsecond."""
        value = C.c_float()
        self.call("cudaEventElapsedTime", C.byref(value), begin, end)
        return int(value.value * 1e6)

    def close(self) -> None:
        """Give everything back; what cannot be given back ends with the process."""
        for name, handles in (
            ("cudaEventDestroy", self._events),
            ("cudaStreamDestroy", self._streams),
            ("cudaFree", self._memory),
        ):
            while handles:
                try:
                    self.call(name, handles.pop())
                except AgentError:
                    pass


def _version(number: int) -> str:
    return "%d.%d" % (number // 1000, number % 1000 // 10)
