"""The integer matrix product that the first pass is made with, and the proof that it is exact here.

``IntegerProduct`` is the whole interface, so another library can take onnxruntime's place.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Uint8 = NDArray[np.uint8]
Int8 = NDArray[np.int8]
Int32 = NDArray[np.int32]
Multiply = Callable[[Uint8, Int32], None]

ZERO = 128
"""The probes' zero point: a uint8 of 128 stands for 0."""

WEIGHT_LIMIT = 64
"""Without VNNI, x86 adds two products in 16 bits with saturation: 2 * 255 * 64 still fits."""


class IntegerProduct(Protocol):
    """Exact ``(probes - 128) @ templates.T`` in 32-bit integers."""

    def prepare(self, templates: Int8) -> Multiply:
        """Pack one tile.

        Args:
            templates: int8 ``(t, D)`` within +-64.

        Returns:
            A function of (probes uint8 ``(p, D)``, result int32 ``(p, t)``) that fills the result.
            Used by one thread at a time.
        """
        ...


class OnnxruntimeProduct:
    """onnxruntime's MatMulInteger on one CPU thread, one session a tile.

    Raises:
        ImportError: onnx or onnxruntime is not installed.
    """

    def __init__(self) -> None:
        import onnx
        import onnxruntime

        self._onnx = onnx
        self._runtime = onnxruntime
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = 1
        self._options.inter_op_num_threads = 1
        self._options.log_severity_level = 3

    def prepare(self, templates: Int8) -> Multiply:
        """See ``IntegerProduct``."""
        helper, types = self._onnx.helper, self._onnx.TensorProto
        count, dim = templates.shape
        graph = helper.make_graph(
            [helper.make_node("MatMulInteger", ["probes", "templates", "zero"], ["scores"])],
            "first_pass",
            [helper.make_tensor_value_info("probes", types.UINT8, ["n", dim])],
            [helper.make_tensor_value_info("scores", types.INT32, ["n", count])],
            [
                self._onnx.numpy_helper.from_array(np.ascontiguousarray(templates.T), "templates"),
                self._onnx.numpy_helper.from_array(np.array(ZERO, np.uint8), "zero"),
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        session = self._runtime.InferenceSession(
            model.SerializeToString(), self._options, providers=["CPUExecutionProvider"]
        )
        binding = session.io_binding()

        def multiply(probes: Uint8, result: Int32) -> None:
            binding.bind_input("probes", "cpu", 0, np.uint8, probes.shape, probes.ctypes.data)
            binding.bind_output("scores", "cpu", 0, np.int32, result.shape, result.ctypes.data)
            session.run_with_iobinding(binding)

        return multiply


def is_exact(product: IntegerProduct, dim: int) -> bool:
    """Try the product on what breaks a saturating one: extremes, alternations, random values."""
    random = np.random.default_rng(7)
    probes = random.integers(0, 256, (24, dim), dtype=np.uint8)
    templates = random.integers(-WEIGHT_LIMIT, WEIGHT_LIMIT + 1, (40, dim)).astype(np.int8)
    probes[0], probes[1], probes[2] = 255, 0, 1
    probes[3, ::2], probes[3, 1::2] = 255, 0
    templates[0], templates[1] = WEIGHT_LIMIT, -WEIGHT_LIMIT
    templates[2, ::2], templates[2, 1::2] = WEIGHT_LIMIT, -WEIGHT_LIMIT
    result = np.empty((24, 40), np.int32)
    product.prepare(templates)(probes, result)
    expected = (probes.astype(np.int64) - ZERO) @ templates.astype(np.int64).T
    return bool(np.array_equal(result, expected))


@functools.cache
def trusted_product(dim: int) -> IntegerProduct | None:
    """The product to use for ``dim`` values, or None when there is none that is exact here."""
    try:
        product = OnnxruntimeProduct()
        return product if is_exact(product, dim) else None
    except ImportError:
        return None
