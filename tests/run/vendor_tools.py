"""Stand-ins for vendors' converters, which make files for the shims of `tests/agents/shims`.

Tengine's two tools and rknn-toolkit 1.x are on no registry. These read what the real ones do: sizes
out of the ONNX file, scales out of farm's scale file, mean and std out of the call of `config`.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from tests.agents.shims import ShimFile

TOOL = """#!{python}
import sys
sys.path.insert(0, {root!r})
from tests.run import vendor_tools
vendor_tools.{function}(dict(zip(sys.argv[1::2], sys.argv[2::2])))
"""


def install_tengine(folder: Path) -> Path:
    """Write convert_tool and quant_tool_uint8 into `folder`."""
    folder.mkdir()
    root = str(Path(__file__).parents[2])
    for name, function in (("convert_tool", "convert"), ("quant_tool_uint8", "quantize")):
        path = folder / name
        path.write_text(TOOL.format(python=sys.executable, root=root, function=function))
        path.chmod(0o755)
    return folder


def convert(given: dict[str, str]) -> None:
    """`convert_tool -f onnx -m in -o out`: a float32 file, with the ONNX file behind."""
    import onnx

    data = Path(given["-m"]).read_bytes()
    graph = onnx.load_model_from_string(data).graph
    size, dim = (
        value.type.tensor_type.shape.dim[-1].dim_value
        for value in (graph.input[0], graph.output[0])
    )
    made = ShimFile("T", "float32", size=size, dim=dim, gain=100.0)
    names = f"{graph.input[0].name} {graph.output[0].name}\n".encode()
    Path(given["-o"]).write_bytes(made.data + names + data)


def quantize(given: dict[str, str]) -> None:
    """`quant_tool_uint8 -m float -f scales ...`: the uint8 file with the scales it was given."""
    data = Path(given["-m"]).read_bytes()
    head = len(ShimFile("T", "float32").data)
    first, last = data[head:].split(b"\n", 1)[0].decode().split()
    scales = {}
    for line in Path(given["-f"]).read_text().splitlines():
        name, scale, zero = line.split(" ")
        scales[name] = (float(scale), int(zero))
    made = dataclasses.replace(
        ShimFile.read(data),
        dtype="uint8",
        in_scale=scales[first][0],
        in_zero=scales[first][1],
        out_scale=scales[last][0],
        out_zero=scales[last][1],
    )
    Path(given["-o"]).write_bytes(made.data + data[len(made.data) : len(data) // 4])
    print("[Quant Tools Info]: Step 6, save UInt8 tmfile done", file=sys.stderr)


RKNN1 = """
import sys
sys.path.insert(0, {root!r})
from tests.run.vendor_tools import Rknn1 as RKNN
"""


def install_rknn1(folder: Path) -> Path:
    """An interpreter that has a package `rknn` of toolkit 1.7.5."""
    package = folder / "rknn" / "api"
    package.mkdir(parents=True)
    (folder / "rknn" / "__init__.py").write_text("")
    (package / "__init__.py").write_text(RKNN1.format(root=str(Path(__file__).parents[2])))
    about = folder / "rknn_toolkit-1.7.5.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: rknn-toolkit\nVersion: 1.7.5\n")
    program = folder / "python3"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    program.chmod(0o755)
    return program


class Rknn1:
    """The part of the 1.x toolkit's class that farm calls, with its names and results."""

    def __init__(self, verbose: bool = False) -> None:
        print("--> shim toolkit")

    def config(self, **given: Any) -> None:
        """Keep mean and std; it gives nothing back."""
        assert given["target_platform"] == ["rv1126"]
        assert given["reorder_channel"] == "0 1 2"
        self._mean, self._std = given["mean_values"][0], given["std_values"][0]

    def load_onnx(self, model: str) -> int:
        """Keep the sizes."""
        import onnx

        graph = onnx.load(model).graph
        ends = (graph.input[0], graph.output[0])
        self._sizes = [value.type.tensor_type.shape.dim[-1].dim_value for value in ends]
        return 0

    def build(self, do_quantization: bool, dataset: str) -> int:
        """See that the images are there."""
        names = Path(dataset).read_text().split()
        assert do_quantization
        assert all((Path(dataset).parent / name).is_file() for name in names)
        return 0 if names else -1

    def export_rknn(self, export_path: str) -> int:
        """Write the file, which is larger than its header."""
        size, dim = self._sizes
        made = ShimFile(
            "R",
            "uint8",
            size=size,
            dim=dim,
            gain=50.0,
            mean=tuple(self._mean),
            std=tuple(self._std),
        )
        Path(export_path).write_bytes(made.data.ljust(2048, b"\0"))
        return 0
