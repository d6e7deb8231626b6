"""Stand-ins for vendors' converters, which make files for the shims of `tests/agents/shims`.

Tengine's two tools are on no registry. These read the files and command lines that the real ones
do: sizes out of the ONNX file, scales out of farm's scale file.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

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
