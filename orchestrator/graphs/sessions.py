"""onnxruntime sessions that compute what the graph says, on any CPU.

A default session fuses QuantizeLinear/DequantizeLinear pairs into integer kernels that
saturate in 16 bits on x86 CPUs without VNNI, which shows as a loss no board has. A faithful
session computes the dequantized graph in float32 instead. Integer kernels are up to three times as
fast, so a file that sums integers alone is computed by them where they are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.agents.host.arithmetic import exact_integers
from orchestrator.errors import ToolchainError

SAME_SUMS = 1
"""Threads within an operator, for what others make files of. How onnxruntime divides a sum among
threads decides its last bits: the default detector's calibration table was another with one, two
and three threads, so with each number of processors."""


def faithful_session(
    model: bytes | str,
    *,
    threads: int = 0,
    optimize: bool = True,
    quiet: bool = False,
    integer_sums: bool = False,
) -> Any:
    """An `onnxruntime.InferenceSession` on the CPU without integer fusions that are not exact.

    Args:
        model: an ONNX file, as bytes or by path.
        threads: intra-operator threads; 0 is onnxruntime's own choice.
        optimize: False also turns off every other graph optimization, so that each tensor is
            computed exactly as onnxruntime's own calibrators see it.
        quiet: onnxruntime writes no errors to standard error; they are raised anyway.
        integer_sums: of the file's interface (`specs.artifact`): integer kernels may compute it.

    Raises:
        ToolchainError: onnxruntime cannot load it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4 if quiet else 3
    options.intra_op_num_threads = threads
    # Else pairs one behind the other become one, of another scale.
    options.add_session_config_entry("session.disable_double_qdq_remover", "1")
    if not (integer_sums and exact_integers()):
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    # Idle threads must not burn the cores that other steps of a run need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not optimize:
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        text = str(error).splitlines()[0]
        raise ToolchainError(f"onnxruntime cannot load the model: {text}") from error


def joined(outputs: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """What a model made of one image as one row: its outputs one after another, flattened."""
    rows = [np.asarray(output, np.float32).reshape(-1) for output in outputs]
    return rows[0] if len(rows) == 1 else np.concatenate(rows)
