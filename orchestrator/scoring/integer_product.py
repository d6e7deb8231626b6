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
"""The templates' zero point: a uint8 of 128 stands for 0."""

LIMITS = 127, 64
"""Largest probe values to try. Without VNNI, x86 adds two products in 16 bits with saturation:
2 * 255 * 64 still fits."""


class IntegerProduct(Protocol):
    """Exact ``(templates - 128) @ probes.T`` in 32-bit integers.

    Attributes:
        limit: largest absolute value of the probes that it is exact for.
    """

    @property
    def limit(self) -> int: ...

    def prepare(self, probes: Int8) -> Multiply:
        """Pack one block of probes, which every template meets.

        Args:
            probes: int8 ``(p, D)`` within +-``limit``.

        Returns:
            A function of (templates uint8 ``(t, D)``, result int32 ``(t, p)``) that fills the
            result. Threads may call it at the same time.
        """
        ...


class OnnxruntimeProduct:
    """onnxruntime's MatMulInteger on one CPU thread, one session a block of probes.

    Args:
        limit: largest absolute value of the probes.

    Raises:
        ImportError: onnx or onnxruntime is not installed.
    """

    def __init__(self, limit: int) -> None:
        import onnx
        import onnxruntime

        self.limit = limit
        self._onnx = onnx
        self._runtime = onnxruntime

    def prepare(self, probes: Int8) -> Multiply:
        """See ``IntegerProduct``."""
        weights = np.ascontiguousarray(probes.T)
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Weights inside the model would stay in memory with its bytes, beside the packed ones.
        value = self._runtime.OrtValue.ortvalue_from_numpy(weights)
        options.add_external_initializers(["probes"], [value])
        session = self._runtime.InferenceSession(
            self._model(*weights.shape), options, providers=["CPUExecutionProvider"]
        )

        def multiply(templates: Uint8, result: Int32) -> None:
            binding = session.io_binding()
            binding.bind_input(
                "templates", "cpu", 0, np.uint8, templates.shape, templates.ctypes.data
            )
            binding.bind_output("scores", "cpu", 0, np.int32, result.shape, result.ctypes.data)
            session.run_with_iobinding(binding)

        return multiply

    def _model(self, dim: int, count: int) -> bytes:
        """A model of the product alone, without its int8 weights ``(dim, count)``."""
        helper, types = self._onnx.helper, self._onnx.TensorProto
        weights = types(
            name="probes",
            data_type=types.INT8,
            dims=(dim, count),
            data_location=types.EXTERNAL,
            external_data=[self._onnx.StringStringEntryProto(key="location", value="given")],
        )
        graph = helper.make_graph(
            [helper.make_node("MatMulInteger", ["templates", "probes", "zero"], ["scores"])],
            "first_pass",
            [helper.make_tensor_value_info("templates", types.UINT8, ["n", dim])],
            [helper.make_tensor_value_info("scores", types.INT32, ["n", count])],
            [weights, self._onnx.numpy_helper.from_array(np.array(ZERO, np.uint8), "zero")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        serialized: bytes = model.SerializeToString()
        return serialized


def is_exact(product: IntegerProduct, dim: int) -> bool:
    """Try the product on what breaks a saturating one: extremes, alternations, random values."""
    random = np.random.default_rng(7)
    templates = random.integers(0, 256, (24, dim), dtype=np.uint8)
    limit = product.limit
    probes = random.integers(-limit, limit + 1, (40, dim)).astype(np.int8)
    templates[0], templates[1], templates[2] = 255, 0, 1
    templates[3, ::2], templates[3, 1::2] = 255, 0
    probes[0], probes[1] = limit, -limit
    probes[2, ::2], probes[2, 1::2] = limit, -limit
    result = np.empty((24, 40), np.int32)
    product.prepare(probes)(templates, result)
    expected = (templates.astype(np.int64) - ZERO) @ probes.astype(np.int64).T
    return bool(np.array_equal(result, expected))


@functools.cache
def trusted_product(dim: int) -> IntegerProduct | None:
    """The product to use for ``dim`` values, or None when there is none that is exact here."""
    for limit in LIMITS:
        try:
            product = OnnxruntimeProduct(limit)
        except ImportError:
            return None
        if is_exact(product, dim):
            return product
    return None
