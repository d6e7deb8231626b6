"""How the lists of TensorRT's Python names in this folder were made.

From a wheel (8.6.1 and 10.3.0, verified): the package `tensorrt_bindings==8.6.1` or
`tensorrt-cu12-bindings==10.3.0`, fetched with `pip download --no-deps` and unpacked. Its extension
module is imported for real, with empty libraries in the place of libnvinfer and its companions
(no function of theirs is called at import), and each class is asked for its names:

    python extract.py wheel FOLDER_OF_THE_UNPACKED_WHEEL 8 > 8.6.1.txt

From NVIDIA's published source of the bindings (8.0.1, 8.2.1, 8.4.1, **unverified**: no wheel of
them exists, JetPack's own build was not seen), by what pybind11 is told there:

    python extract.py source FOLDER_OF_python/src > 8.0.1.txt

A line is a class and its names; `module` has the names of the module itself.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

CLASSES = (
    *("Builder", "BuilderFlag", "DataType", "EngineInspector", "IBuilderConfig", "ICudaEngine"),
    *("IExecutionContext", "IHostMemory", "ILogger", "INetworkDefinition", "ITensor"),
    *("LayerInformationFormat", "Logger", "MemoryPoolType", "NetworkDefinitionCreationFlag"),
    *("OnnxParser", "ParserError", "ProfilingVerbosity", "Runtime", "Severity", "TensorIOMode"),
)
_TOKEN = re.compile(
    r'py::(?:class_|enum_)<[^;]*?>\s*\w*[({]\s*(\w+),\s*"(\w+)"'
    r'|\.(?:def\w*|value)\(\s*"(\w+)"'
)
_DUNDER = re.compile(r"__\w+__")


def from_wheel(folder: Path, major: str) -> dict[str, set[str]]:
    """Names as the imported module has them."""
    module = next(folder.glob("tensorrt*/tensorrt.so"))
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", module], capture_output=True, text=True, check=True
    ).stdout
    symbols = [line.split()[-1] for line in listed.splitlines() if " U " in line]
    missing = [name for name in symbols if "@" not in name and not name.startswith(("Py", "_Py"))]
    with tempfile.TemporaryDirectory() as stubs:
        source = Path(stubs) / "stub.c"
        source.write_text("".join(f"void {name}(void) {{}}\n" for name in missing))
        for name in ("libnvinfer", "libnvonnxparser", "libnvparsers", "libnvinfer_plugin"):
            file = f"{name}.so.{major}"
            what = [str(source)] if name == "libnvinfer" else ["-xc", os.devnull]
            subprocess.run(
                ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{file}", "-o", f"{stubs}/{file}", *what],
                check=True,
            )
        script = (
            f"import sys; sys.path.insert(0, {str(module.parent.parent)!r})\n"
            f"import importlib; t = importlib.import_module({module.parent.name + '.tensorrt'!r})\n"
            "print('module', *dir(t))\n"
            "for n in dir(t):\n"
            "    if isinstance(getattr(t, n), type): print(n, *dir(getattr(t, n)))\n"
        )
        told = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "LD_LIBRARY_PATH": stubs},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return {line.split()[0]: set(line.split()[1:]) for line in told.splitlines()}


def from_source(folder: Path) -> dict[str, set[str]]:
    """Names as the sources tell pybind11; those of base classes are not added."""
    found: dict[str, set[str]] = {"module": set()}
    for path in sorted(folder.rglob("*.cpp")):
        current = ""
        for match in _TOKEN.finditer(path.read_text("utf-8", "replace")):
            scope, name, member = match.groups()
            if name:
                current = name
                found.setdefault(name, set())
                if scope == "m":
                    found["module"].add(name)
            elif member and current:
                found[current].add(member)
    # The severities are exported into Logger, whose chain of calls is interrupted by them.
    found["Logger"] |= found["Severity"] | {"log", "min_severity", "Severity"}
    return found


def main() -> None:
    """Print the lists of the classes that an adapter may touch."""
    where = Path(sys.argv[2])
    found = from_wheel(where, sys.argv[3]) if sys.argv[1] == "wheel" else from_source(where)
    for name in ("module", *CLASSES):
        if name in found:
            print(name, *sorted(word for word in found[name] if not _DUNDER.fullmatch(word)))


if __name__ == "__main__":
    main()
