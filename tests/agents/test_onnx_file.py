"""The agent's own reading of an ONNX file's names and shapes."""

import contextlib

import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.agents.runtimes.trt import onnx_file

from .conftest import MODEL
from .gpu import onnx_file as small


def test_it_reads_what_onnx_reads(tmp_path):
    for path in (MODEL, small(tmp_path / "small.onnx")):
        graph = onnx.load(path).graph
        data = path.read_bytes()
        assert onnx_file.nodes(data) == [(node.name, node.op_type) for node in graph.node]
        ins, outs = onnx_file.tensors(data)
        for told, want in ((ins, graph.input), (outs, graph.output)):
            assert [each["name"] for each in told] == [info.name for info in want]
            shapes = [
                [dim.dim_value or None for dim in info.type.tensor_type.shape.dim] for info in want
            ]
            assert [each["shape"] for each in told] == shapes


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_damage_is_a_value_error_and_nothing_else(noise, at, value):
    whole = bytearray(DAMAGED)
    whole[at % len(whole)] = value
    for data in (noise, bytes(whole), DAMAGED[: at % len(DAMAGED)]):
        onnx_file.nodes(data)
        with contextlib.suppress(ValueError):
            onnx_file.tensors(data)


def _sample():
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        return small(Path(folder) / "m.onnx").read_bytes()[-600:]


DAMAGED = _sample()
