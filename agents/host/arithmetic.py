"""Whether onnxruntime's integer kernels add exactly on this processor."""

import platform

from . import emulation, processor

_X86 = ("x86_64", "AMD64")
_VNNI = ("avx512_vnni", "avx_vnni")


def exact_integers(root: str = "/") -> bool:
    """Whether sums of 8-bit products are exact, which is known of x86 with VNNI alone.

    Other x86 processors add two products in 16 bits, which saturate (onnxruntime's documentation,
    "Quantize ONNX models": U8S8 on AVX2 and AVX512; seen with uint8 weights on AVX2, too).
    """
    if platform.machine() not in _X86:
        return False
    flags = processor.cpuinfo(root).get("flags", "").split()
    # QEMU's user mode shows this computer's flags, and has no VNNI.
    return any(flag in flags for flag in _VNNI) and not emulation.program()
