"""A float32 network whose every activation can be looked at, one image after another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper

from orchestrator.errors import ToolchainError
from orchestrator.graphs import edit
from orchestrator.graphs.describe import describe_proto, infer_shapes
from orchestrator.graphs.prelus import replace_prelus
from orchestrator.graphs.sessions import SAME_SUMS, faithful_session

Floats = npt.NDArray[np.float32]


def float_tensors(proto: ModelProto) -> tuple[str, ...]:
    """Names of a model's float32 activations, the input included, sorted."""
    inferred = infer_shapes(proto)
    known = [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]
    kinds = {info.name: info.type.tensor_type.elem_type for info in known}
    constants = edit.initializers(proto.graph)
    names = {name for node in proto.graph.node for name in (*node.input, *node.output)}
    return tuple(sorted(n for n in names - set(constants) if kinds.get(n) == TensorProto.FLOAT))


class Network:
    """A session that returns every activation's extremes, and on demand the activations.

    The weights are held by onnxruntime alone: it loads them from a file, and nothing of the
    parsed model is kept but names.
    """

    def __init__(self, prepared: bytes, folder: Path, *, tensors: bool) -> None:
        import onnxruntime

        proto = onnx.ModelProto.FromString(prepared)
        self.shape = describe_proto(proto).image_shape
        self.tensors = float_tensors(proto)
        self.input = proto.graph.input[0].name
        self._makers = [(o, edit.label(node)) for node in proto.graph.node for o in node.output]
        self._outputs = [output.name for output in proto.graph.output]
        self._extremes = []
        replace_prelus(proto.graph)
        for i, name in enumerate(self.tensors):
            for operator in ("ReduceMin", "ReduceMax"):
                output = f"farm_{operator}_{i}"
                proto.graph.node.append(helper.make_node(operator, [name], [output], keepdims=0))
                self._extremes.append(output)
        returned = [*self._extremes, *(self.tensors if tensors else ())]
        for name in returned:
            if name not in self._outputs and name != self.input:
                info = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
                proto.graph.output.append(info)
        path = folder / "network.onnx"
        _write(proto, path)
        del proto
        self._session = faithful_session(str(path), threads=SAME_SUMS, optimize=False)
        path.unlink()
        # Else the extremes are computed, too, when only activations are asked for.
        self._only_asked = onnxruntime.RunOptions()
        self._only_asked.only_execute_path_to_fetches = True

    def extremes(self, image: Floats) -> Floats:
        """float32 (tensors, 2): minimum and maximum of each.

        Raises:
            ToolchainError: one is NaN or infinite.
        """
        values = self._session.run([*self._extremes, *self._outputs], {self.input: image})
        count = len(self._extremes)
        found = np.array(values[:count], np.float32).reshape(-1, 2)
        finite = np.logical_and(*np.isfinite(found).T)
        if not (finite.all() and all(np.isfinite(value).all() for value in values[count:])):
            bad = {name for name, good in zip(self.tensors, finite, strict=True) if not good}
            self._raise_not_finite(bad)
        return found

    def activations(self, image: Floats) -> Iterator[Floats]:
        """Every tensor, in the order of `tensors`."""
        fetched = [name for name in self.tensors if name != self.input]
        values = iter(self._session.run(fetched, {self.input: image}, self._only_asked))
        for name in self.tensors:
            yield image if name == self.input else next(values)

    def _raise_not_finite(self, bad: set[str]) -> None:
        first, maker = next(
            ((name, label) for name, label in self._makers if name in bad),
            (self._outputs[0], "the last layer"),
        )
        raise ToolchainError(
            f"tensor '{first}' of {maker} is NaN or infinite on a calibration image",
            "the float32 model overflows there: check its preprocessing (mean, std) and weights",
        )


def _write(proto: ModelProto, path: Path) -> None:
    """Write a model without holding its weights once more.

    Messages one behind another are, to who reads them, one message with the fields of all.
    """
    with path.open("wb") as file:
        for tensor in proto.graph.initializer:
            file.write(edit.dump(ModelProto(graph=GraphProto(initializer=[tensor]))))
        del proto.graph.initializer[:]
        file.write(edit.dump(proto))
