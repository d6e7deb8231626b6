"""Models damaged in a few hundred ways: each is taken or refused in words, and nothing crashes.

    python -m tests.intake.mutated FIRST COUNT     one line a model: seed, what was done, outcome

A line is begun before a model is tried, so the last one names what killed the process.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper

from tests.intake import made

Random = np.random.Generator
FORMS: tuple[made.Form, ...] = (
    *(made.plain, made.channels_last, made.half, made.uint8_channels_last, made.fixed_batch),
    *(made.flattened_by_shape, made.old_style, made.dropout, made.unit_length, made.newest),
    *(made.quality_first, made.normalized_by_bn),
)
HUGE = (2**31 - 1, 2**33, 2**40, 2**62)


def one(random: Random, items: Any) -> Any:
    return items[int(random.integers(len(items)))]


def node_of(random: Random, proto: ModelProto) -> Any:
    return one(random, proto.graph.node)


def truncated(random: Random, proto: ModelProto) -> bytes:
    data = proto.SerializeToString()
    return data[: int(random.integers(len(data)))]


def flipped(random: Random, proto: ModelProto) -> bytes:
    """Bytes changed among those that are no weights, as often as not."""
    data = bytearray(proto.SerializeToString())
    end = len(data) if random.random() < 0.5 else min(len(data), 1500)
    for _ in range(int(random.integers(1, 8))):
        data[int(random.integers(end))] = int(random.integers(256))
    return bytes(data)


def wrong_weight_shape(random: Random, proto: ModelProto) -> None:
    tensor = one(random, proto.graph.initializer)
    tensor.dims[:] = [int(d) for d in random.integers(0, 30, int(random.integers(0, 6)))]


def huge_weight(random: Random, proto: ModelProto) -> None:
    tensor = one(random, proto.graph.initializer)
    tensor.dims[:] = [one(random, HUGE)] * int(random.integers(1, 4))
    if random.random() < 0.5:
        tensor.ClearField("raw_data")


def negative_weight(random: Random, proto: ModelProto) -> None:
    tensor = one(random, proto.graph.initializer)
    tensor.dims[:] = [-abs(int(d)) or -1 for d in tensor.dims] or [-1]


def wrong_type(random: Random, proto: ModelProto) -> None:
    one(random, proto.graph.initializer).data_type = int(random.integers(0, 40))


def missing_weight(random: Random, proto: ModelProto) -> None:
    del proto.graph.initializer[int(random.integers(len(proto.graph.initializer)))]


def missing_node(random: Random, proto: ModelProto) -> None:
    del proto.graph.node[int(random.integers(len(proto.graph.node)))]


def other_operator(random: Random, proto: ModelProto) -> None:
    words = ("Unknown", "Relu6", "Conv", "Softmax", "Loop", "Transpose", "Gather", "Reshape", "Pad")
    node_of(random, proto).op_type = one(random, (*words, "Expand", "Tile", "TopK", "Squeeze"))


def other_domain(random: Random, proto: ModelProto) -> None:
    domain = one(random, ("com.microsoft", "ai.onnx.ml", "acme"))
    node_of(random, proto).domain = domain
    if random.random() < 0.5:
        proto.opset_import.append(helper.make_opsetid(domain, 1))


def cycle(random: Random, proto: ModelProto) -> None:
    place = int(random.integers(len(proto.graph.node)))
    later = proto.graph.node[int(random.integers(place, len(proto.graph.node)))]
    proto.graph.node[place].input[0] = later.output[0]


def rewired(random: Random, proto: ModelProto) -> None:
    names = [name for node in proto.graph.node for name in (*node.input, *node.output)] + [""]
    node = node_of(random, proto)
    node.input[int(random.integers(len(node.input)))] = one(random, names)


def same_output_twice(random: Random, proto: ModelProto) -> None:
    node_of(random, proto).output[0] = node_of(random, proto).output[0]


def wrong_attribute(random: Random, proto: ModelProto) -> None:
    told = [a for node in proto.graph.node for a in node.attribute]
    attribute = one(random, told)
    values = (-1, 0, 1, 7, 99, *HUGE)
    if attribute.ints:
        attribute.ints[:] = [one(random, values) for _ in range(int(random.integers(0, 6)))]
    else:
        attribute.i = one(random, values)
        attribute.type = one(random, (attribute.INT, attribute.type))


def huge_input(random: Random, proto: ModelProto) -> None:
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    one(random, dims).dim_value = one(random, (*HUGE, 100_000))


def odd_input(random: Random, proto: ModelProto) -> None:
    info = proto.graph.input[0].type.tensor_type
    if random.random() < 0.5:
        info.elem_type = int(random.integers(0, 24))
    else:
        dims = [int(d) for d in random.integers(-3, 40, int(random.integers(0, 6)))]
        proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("data", info.elem_type, dims))


def huge_constant(random: Random, proto: ModelProto) -> None:
    """A node that would fill the memory, in the way of the image or beside it."""
    shape = np.array([int(one(random, HUGE[:2]))] * int(random.integers(1, 3)))
    proto.graph.initializer.append(TensorProto(name="big", data_type=7, dims=shape.shape))
    proto.graph.initializer[-1].int64_data.extend(shape.tolist())
    kind = one(random, ("ConstantOfShape", "Expand", "Tile"))
    source = proto.graph.node[-1].input[0]
    inputs = {"ConstantOfShape": ["big"], "Expand": [source, "big"], "Tile": [source, "big"]}[kind]
    place = len(proto.graph.node) - 1
    proto.graph.node.insert(place, helper.make_node(kind, inputs, ["grown"], "grown"))
    if random.random() < 0.5:
        proto.graph.node[-1].input[0] = "grown"


def other_opset(random: Random, proto: ModelProto) -> None:
    proto.opset_import[0].version = int(one(random, (-1, 0, 1, 5, 7, 8, 9, 12, 18, 22, 24, 99)))
    if random.random() < 0.5:
        proto.ir_version = int(one(random, (0, 1, 3, 4, 10, 12, 99)))


def no_output(random: Random, proto: ModelProto) -> None:
    if random.random() < 0.5:
        del proto.graph.output[:]
    else:
        proto.graph.output[0].name = one(random, ("nowhere", "data", proto.graph.node[0].output[0]))


def beside_nothing(random: Random, proto: ModelProto) -> None:
    tensor = one(random, proto.graph.initializer)
    tensor.data_location = TensorProto.EXTERNAL
    places = ("gone.bin", "../../../etc/passwd", "/etc/hostname", "", ".", "model.onnx")
    told = {"location": one(random, places), "offset": one(random, ("0", "-1", "9" * 30, "x"))}
    for key, value in told.items():
        tensor.external_data.add(key=key, value=value)


def poisoned(random: Random, proto: ModelProto) -> None:
    tensor = one(
        random,
        [t for t in proto.graph.initializer if t.data_type == TensorProto.FLOAT]
        or list(proto.graph.initializer),
    )
    values = np.frombuffer(tensor.raw_data, np.uint8).copy()
    values[: 4 * (len(values) // 4)] = 255
    tensor.raw_data = values.tobytes()


def hollow_node(random: Random, proto: ModelProto) -> None:
    """No outputs, no inputs or no name, or none of these."""
    node = node_of(random, proto)
    for part in ("output", "input", "name", "attribute"):
        if random.random() < 0.5:
            node.ClearField(part)


MUTATIONS: tuple[Callable[[Random, ModelProto], bytes | None], ...] = (
    *(truncated, flipped, wrong_weight_shape, huge_weight, negative_weight, wrong_type),
    *(missing_weight, missing_node, other_operator, other_domain, cycle, rewired),
    *(same_output_twice, wrong_attribute, huge_input, odd_input, huge_constant, other_opset),
    *(no_output, beside_nothing, poisoned, hollow_node),
)


def model_of(seed: int) -> tuple[str, bytes]:
    """The name of what was done to which form, and the damaged file."""
    random = np.random.default_rng(seed)
    form, mutation = FORMS[seed % len(FORMS)], MUTATIONS[(seed // len(FORMS)) % len(MUTATIONS)]
    proto = form()
    data = mutation(random, proto)
    return f"{mutation.__name__} of {form.__name__}", (
        proto.SerializeToString() if data is None else data
    )


def outcome_of(data: bytes, folder: Path) -> tuple[str, str]:
    """`taken`, `refused` or the name of an exception that must not be; and the words."""
    from orchestrator.cli.setup.init_model import take
    from orchestrator.errors import UserError

    path = folder / "model.onnx"
    path.write_bytes(data)
    try:
        taken = take(path, (made.HEIGHT, made.WIDTH) if b"dim" in data else None, None, nothing)
    except UserError as error:
        return "refused", " ".join(str(error).split())
    except Exception as error:
        return type(error).__name__, " ".join(str(error).split())
    return "taken", "; ".join(taken.normal.changes)


def nothing(size: tuple[int, int]) -> None:
    return None


def main() -> None:
    first, count = (int(word) for word in sys.argv[1:3])
    with tempfile.TemporaryDirectory() as name:
        for seed in range(first, first + count):
            what, data = model_of(seed)
            print(f"{seed}\t{what}\t", end="", flush=True)
            began = time.monotonic()
            outcome, words = outcome_of(data, Path(name))
            print(f"{outcome}\t{time.monotonic() - began:.2f}\t{words}", flush=True)


if __name__ == "__main__":
    main()
