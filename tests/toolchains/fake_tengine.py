"""Stand-ins for Tengine's two tools, which are on no registry; they lie as the real ones do.

What they cannot show is Tengine's arithmetic. They check their command lines as the real tools
read them, write files of plausible size, and fail in the ways that were seen: exit code 0
without a file, exit code 0 with a file but no word of success.
"""

from __future__ import annotations

import sys
from pathlib import Path

TOOL = """#!{python}
import sys
sys.path.insert(0, {root!r})
from tests.toolchains import fake_tengine
fake_tengine.{function}({mode!r})
"""


def install(folder: Path, mode: str = "works") -> Path:
    """Write both tools into `folder`."""
    root = str(Path(__file__).parents[2])
    for name, function in (("convert_tool", "convert"), ("quant_tool_uint8", "quantize")):
        path = folder / name
        path.write_text(TOOL.format(python=sys.executable, root=root, function=function, mode=mode))
        path.chmod(0o755)
    return folder


def options() -> dict[str, str]:
    """`-x value` pairs."""
    words = sys.argv[1:]
    return dict(zip(words[::2], words[1::2], strict=True))


def convert(mode: str) -> None:
    """`convert_tool -f onnx -m in -o out`."""
    given = options()
    assert given["-f"] == "onnx"
    assert set(given) == {"-f", "-m", "-o"}
    if mode == "hangs":
        import time

        time.sleep(60)
    data = Path(given["-m"]).read_bytes()
    if mode != "no file":
        Path(given["-o"]).write_bytes(b"TM" + data)
    print("Create tengine model file done")


def quantize(mode: str) -> None:
    """`quant_tool_uint8 -m float -i images -o out -f scales -a 0 -g c,h,w -t 1`."""
    given = options()
    assert set(given) == {"-m", "-i", "-o", "-f", "-a", "-g", "-t"}
    assert Path(given["-i"]).is_dir()
    assert [int(size) for size in given["-g"].split(",")] == [3, 16, 16]
    for line in Path(given["-f"]).read_text().splitlines():
        name, scale, zero = line.split(" ")
        assert name
        assert float(scale) > 0
        assert 0 <= int(zero) <= 255
    if mode == "no uint8 file":
        return
    data = Path(given["-m"]).read_bytes()
    Path(given["-o"]).write_bytes(data[: len(data) // 4])
    if mode != "silent":
        print(f"[Quant Tools Info]: Step 6, save UInt8 tmfile done, {given['-o']}", file=sys.stderr)
