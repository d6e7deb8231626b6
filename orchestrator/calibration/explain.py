"""Where a quantized model loses its accuracy: each layer against float32, in bounded memory.

Float model and quantized model are joined into one graph on the same image, and each layer is
compared inside it, so that only sums leave it. Two figures a layer:

- **reached**: the layer's value in the quantized model against float32: all errors so far.
- **own**: the same layer given float32 inputs, quantized only there: the error it adds itself.

Signal-to-quantization-noise ratio: SQNR = 10 log10(sum x^2 / sum (x - q)^2), in dB, over all
images. The cosine is the mean over images. Both are ruled by the loudest channels; a scale that
one channel has taken from all others shows in the **channel** figure, the mean of the channels'
own SQNR.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from orchestrator.calibration.calibrate import Source, batches_of
from orchestrator.errors import UserError
from orchestrator.graphs import edit
from orchestrator.graphs.sessions import faithful_session

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_HIGHEST_DB = 200.0

_Doubles = npt.NDArray[np.float64]

# A layer is called bad when its own channel SQNR lies this far below the median of all layers'.
# A bit is 6 dB: 12 dB are two of the eight. Sound layers were seen to stay within 10.
BAD_BELOW_MEDIAN_DB = 12.0


@dataclass(frozen=True)
class LayerLoss:
    """One layer's figures.

    Attributes:
        name: the node's, as `keep_float` takes it.
        operator: its ONNX type.
        reached_db, reached_cosine: with every error before it.
        own_db, own_cosine: with float32 inputs.
        own_channel_db: mean of the channels' SQNR, with float32 inputs; silent ones left out.
    """

    name: str
    operator: str
    reached_db: float
    reached_cosine: float
    own_db: float
    own_cosine: float
    own_channel_db: float


@dataclass(frozen=True)
class LayerReport:
    """Losses of all layers in the order they are computed.

    Attributes:
        layers: never empty.
        images: how many were run.
    """

    layers: tuple[LayerLoss, ...]
    images: int

    @property
    def worst(self) -> LayerLoss:
        """The layer that adds the most noise itself, channel by channel."""
        return min(self.layers, key=lambda layer: layer.own_channel_db)

    @property
    def usual_db(self) -> float:
        """The median of the layers' own channel SQNR, which a layer is held against."""
        return statistics.median(layer.own_channel_db for layer in self.layers)

    @property
    def bad(self) -> tuple[str, ...]:
        """Names of the layers far worse than the others by their own error: candidates for
        `keep_float`, whose effect is to be measured."""
        usual = self.usual_db
        return tuple(
            layer.name
            for layer in self.layers
            if layer.own_channel_db < usual - BAD_BELOW_MEDIAN_DB
        )

    @property
    def first_bad(self) -> LayerLoss | None:
        """The first of the bad layers, if there is one."""
        names = self.bad
        return next((layer for layer in self.layers if layer.name in names), None)


def explain(
    prepared: bytes,
    quantized: bytes,
    images: Source,
    *,
    threads: int = 0,
    progress: Callable[[int], None] | None = None,
) -> LayerReport:
    """Compare a quantized model with the prepared one it was made from, layer by layer.

    Args:
        prepared: what `prepare` made.
        quantized: a QDQ model or a twin of it; node names are what joins the two.
        images: float32 (n, 3, H, W) batches as the model takes them.
        threads: of onnxruntime within an operator; 0 is its own choice.
        progress: told the number of images done.

    Raises:
        UserError: no images, or the models have no node in common.
    """
    joined = Joined(onnx.ModelProto.FromString(prepared), onnx.ModelProto.FromString(quantized))
    session = faithful_session(edit.dump(joined.model), threads=threads)
    sums = [(_Sums(), _Sums()) for _ in joined.layers]
    done = 0
    for batch in batches_of(images):
        for image in batch:
            values = iter(session.run(joined.outputs, {joined.input: image[None]}))
            for i in range(len(joined.layers)):
                for j in range(2):
                    sums[i][j].add(*(next(values).astype(np.float64) for _ in range(4)))
            done += 1
            if progress:
                progress(done)
    if not done:
        raise UserError("no images to explain with", "give some of the test set's images")
    layers = tuple(
        LayerLoss(
            name,
            operator,
            reached.decibels(),
            reached.cosines / done,
            own.decibels(),
            own.cosines / done,
            own.channel_decibels(),
        )
        for (name, operator), (reached, own) in zip(joined.layers, sums, strict=True)
    )
    return LayerReport(layers, done)


class _Sums:
    """What is kept of a layer: sums over images, one a channel."""

    def __init__(self) -> None:
        self.signal: npt.NDArray[np.float64] = np.zeros(1)
        self.noise: npt.NDArray[np.float64] = np.zeros(1)
        self.cosines = 0.0

    def add(self, xx: _Doubles, ee: _Doubles, xq: _Doubles, qq: _Doubles) -> None:
        """Add an image: per channel x.x and (x - q)^2, in all x.q and q.q."""
        self.signal = self.signal + xx.reshape(-1)
        self.noise = self.noise + ee.reshape(-1)
        lengths = float(np.sqrt(xx.sum() * qq.sum()))
        silent = not xx.any() and not qq.any()
        self.cosines += 1.0 if silent else float(xq.sum()) / max(lengths, 1e-300)

    def decibels(self) -> float:
        """SQNR over everything."""
        return float(_decibels(self.signal.sum(), self.noise.sum()))

    def channel_decibels(self) -> float:
        """Mean of the channels' SQNR."""
        heard = self.signal > 0
        if not heard.any():
            return _HIGHEST_DB
        return float(_decibels(self.signal[heard], self.noise[heard]).mean())


def _decibels(signal: npt.ArrayLike, noise: npt.ArrayLike) -> _Doubles:
    ratio = np.maximum(signal, 1e-300) / np.maximum(noise, 1e-300)
    return np.asarray(np.clip(10 * np.log10(ratio), -_HIGHEST_DB, _HIGHEST_DB), np.float64)


class Joined:
    """One graph of the float model, the quantized one (`q/`) and single layers (`own/`)."""

    def __init__(self, real: ModelProto, quantized: ModelProto) -> None:
        self.input = real.graph.input[0].name
        self.layers: list[tuple[str, str]] = []
        self.outputs: list[str] = []
        self._quantized = quantized.graph
        self._makers = {out: node for node in quantized.graph.node for out in node.output}
        self._quantizers = {
            node.input[0]: node for node in quantized.graph.node if node.op_type == _QUANTIZE
        }
        self._dequantizers = {
            node.input[0]: node for node in quantized.graph.node if node.op_type == _DEQUANTIZE
        }
        self._constants = set(edit.initializers(quantized.graph))
        self._real = {node.name: node.output[0] for node in real.graph.node if node.name}
        self._copied: set[str] = set()
        self.model = real
        self._nodes = self.model.graph.node
        for name, values in (("sum/shape", [0, 0, -1]), ("sum/axes", [2])):
            tensor = numpy_helper.from_array(np.array(values, np.int64), name)
            self.model.graph.initializer.append(tensor)
        self._add_quantized()
        self._add_layers()
        if not self.layers:
            raise UserError(
                "the quantized model has no node of the float model: they do not belong together",
                "give the model that it was made from",
            )
        del self.model.graph.output[:]
        for name in self.outputs:
            info = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            self.model.graph.output.append(info)
        versions = {entry.domain: entry.version for entry in quantized.opset_import}
        for entry in self.model.opset_import:
            entry.version = max(entry.version, versions.get(entry.domain, 0))

    def return_errors(self, operators: Sequence[str]) -> list[str]:
        """Return other figures: of each layer of `operators` the channel sums of float32 minus
        its own output, not yet quantized, and that output's shape, in the order of the names.
        """
        self.outputs = []
        makers = {node.name: node for node in self._quantized.node}
        names = [name for name, operator in self.layers if operator in operators]
        del self.model.graph.output[:]
        for name in names:
            real, error = self._real[name], f"error/{name}"
            own = f"own/{makers[name].output[0]}"
            self._nodes.append(helper.make_node("Sub", [real, own], [error]))
            reshape = helper.make_node("Reshape", [error, "sum/shape"], [f"{error}/flat"])
            total = [f"{error}/flat", "sum/axes"]
            reduce = helper.make_node("ReduceSum", total, [f"{error}/sum"], keepdims=0)
            shape = helper.make_node("Shape", [real], [f"{error}/shape"])
            self._nodes.extend([reshape, reduce, shape])
            for output, kind in (("sum", TensorProto.FLOAT), ("shape", TensorProto.INT64)):
                info = helper.make_tensor_value_info(f"{error}/{output}", kind, None)
                self.model.graph.output.append(info)
                self.outputs.append(info.name)
        return names

    def _add_quantized(self) -> None:
        for tensor in self._quantized.initializer:
            copy = self.model.graph.initializer.add()
            copy.CopyFrom(tensor)
            copy.name = f"q/{tensor.name}"
        for node in self._quantized.node:
            self._copy(node, "q/", lambda name: name if name == self.input else f"q/{name}")

    def _add_layers(self) -> None:
        layers = {node.name: node for node in self._quantized.node}
        for name in self._real:  # in the order of the float model
            if name not in layers:
                continue
            node = layers[name]
            self._copy(node, "own/", self._given_float)
            own = self._round_trip(node.output[0], "own/", f"own/{node.output[0]}")
            self._measure(f"{len(self.layers)}/reached", node, f"q/{self._shown(node.output[0])}")
            self._measure(f"{len(self.layers)}/own", node, own)
            self.layers.append((node.name, node.op_type))

    def _copy(self, node: NodeProto, prefix: str, rename: Callable[[str], str]) -> None:
        copy = NodeProto.FromString(node.SerializeToString())
        copy.name = f"{prefix}{node.name}"
        for i, name in enumerate(copy.input):
            copy.input[i] = rename(name) if name else ""
        for i, name in enumerate(copy.output):
            copy.output[i] = f"{prefix}{name}" if name else ""
        self._nodes.append(copy)

    def _given_float(self, name: str) -> str:
        """What a single layer reads: constants as quantized, activations from the float model."""
        if name in self._constants or name == self.input:
            return f"q/{name}" if name in self._constants else name
        maker = self._makers[name]
        if maker.op_type != _DEQUANTIZE:
            return self._float_value(name)
        quantizer = self._makers.get(maker.input[0])
        if quantizer is None or quantizer.input[0] in self._constants:
            return f"q/{name}"  # a weight
        source = quantizer.input[0]
        return self._round_trip(source, "own-in/", self._float_value(source))

    def _float_value(self, name: str) -> str:
        if name == self.input:
            return name
        maker = self._makers[name]
        if maker.op_type == _DEQUANTIZE:
            return self._float_value(self._makers[maker.input[0]].input[0])
        return str(self._real.get(maker.name, f"q/{name}"))

    def _round_trip(self, source: str, prefix: str, value: str) -> str:
        """`value` quantized and dequantized as the quantized model does with `source`."""
        quantizer = self._quantizers.get(source)
        dequantizer = self._dequantizers.get(quantizer.output[0]) if quantizer else None
        if quantizer is None or dequantizer is None:
            return value
        result = f"{prefix}{dequantizer.output[0]}"
        if result not in self._copied:
            self._copied.add(result)
            for node, first in ((quantizer, value), (dequantizer, "")):
                start = first or f"{prefix}{quantizer.output[0]}"
                self._copy(node, prefix, self._constants_only(node, start))
        return result

    def _constants_only(self, node: NodeProto, first: str) -> Callable[[str], str]:
        return lambda name: first if name == node.input[0] else f"q/{name}"

    def _shown(self, name: str) -> str:
        """The value that the next layer sees of a layer's output."""
        quantizer = self._quantizers.get(name)
        dequantizer = self._dequantizers.get(quantizer.output[0]) if quantizer else None
        return dequantizer.output[0] if dequantizer else name

    def _measure(self, label: str, node: NodeProto, value: str) -> None:
        real = self._real[node.name]
        names = {part: f"sum/{label}/{part}" for part in ("e", "p", "xx", "ee", "xq", "qq")}
        self._nodes.append(helper.make_node("Sub", [real, value], [names["e"]]))
        self._nodes.append(helper.make_node("Mul", [real, value], [names["p"]]))
        self._channel_sums(real, names["xx"])
        self._channel_sums(names["e"], names["ee"])
        reduce = helper.make_node("ReduceSum", [names["p"]], [names["xq"]], keepdims=0)
        self._nodes.append(reduce)
        self._channel_sums(value, names["qq"])
        self.outputs += [names[part] for part in ("xx", "ee", "xq", "qq")]

    def _channel_sums(self, value: str, output: str) -> None:
        """Sum of squares of each channel, as a vector; features count as channels."""
        self._nodes.append(helper.make_node("Mul", [value, value], [f"{output}/squares"]))
        reshape = helper.make_node(
            "Reshape", [f"{output}/squares", "sum/shape"], [f"{output}/flat"]
        )
        reduce = helper.make_node("ReduceSum", [f"{output}/flat", "sum/axes"], [output], keepdims=0)
        self._nodes.extend([reshape, reduce])


@dataclass(frozen=True)
class StageParity:
    """How near one stage's features are to float32's and to the stage before it.

    Attributes:
        stage: its name.
        to_float, lowest_to_float: mean and lowest cosine to the first stage.
        to_previous: mean cosine to the stage before.
    """

    stage: str
    to_float: float
    lowest_to_float: float
    to_previous: float


def parity(stages: Iterable[tuple[str, npt.NDArray[np.float32]]]) -> tuple[StageParity, ...]:
    """Compare features of the same images along the way from float32 to the board.

    Args:
        stages: (name, features float32 (images, embedding)), float32 first; as float32,
            prepared, twin, simulator, board.

    Raises:
        UserError: the features are of different shape.
    """
    found: list[StageParity] = []
    first: npt.NDArray[np.float64] | None = None
    previous: npt.NDArray[np.float64] | None = None
    for name, features in stages:
        unit = features.astype(np.float64)
        unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-300)
        if first is None or previous is None:
            first = previous = unit
        if unit.shape != first.shape:
            raise UserError(
                f"stage '{name}' has features {unit.shape}, expected {first.shape} as float32 has"
            )
        to_first = (unit * first).sum(axis=1)
        to_previous = (unit * previous).sum(axis=1)
        found.append(
            StageParity(
                name, float(to_first.mean()), float(to_first.min()), float(to_previous.mean())
            )
        )
        previous = unit
    return tuple(found)
