"""Which sums of onnxruntime's integer kernels are exact on this processor."""

import platform
from typing import Tuple

from . import emulation, processor

_X86 = ("x86_64", "AMD64", "i386", "i686")
_VNNI = ("avx512_vnni", "avx_vnni")


def exact_weights(root: str = "/") -> Tuple[str, ...]:
    """Types of weights whose products with uint8 are added exactly, the fastest first.

    With VNNI both are, and int8 is the faster. Other x86 processors add two products with int8 in
    16 bits, which saturate (onnxruntime's documentation, "Quantize ONNX models": U8S8 on AVX2 and
    AVX512), and none with uint8. Empty on other processors: nothing is known of them.
    """
    if platform.machine() not in _X86:
        return ()
    flags = processor.cpuinfo(root).get("flags", "").split()
    # QEMU's user mode shows this computer's flags, and has no VNNI.
    vnni = any(flag in flags for flag in _VNNI) and not emulation.program()
    return ("int8", "uint8") if vnni else ("uint8",)
