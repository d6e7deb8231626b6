"""The ctypes bindings, against the C declarations and against shims that check their caller."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from orchestrator.agents import runtimes
from orchestrator.agents.protocol.errors import AgentError
from orchestrator.agents.runtimes import rknn, tengine
from orchestrator.agents.runtimes.support import native, rknn_lite
from orchestrator.agents.session.preprocess import Preprocessor

from .conftest import faces
from .shims import FOLDER, GCC, ShimFile, library

pytestmark = pytest.mark.needs("gcc")

TENGINE = ShimFile("T", "uint8")
RKNN = ShimFile("R", "uint8")
FEED = {"height": 16, "width": 16, "layout": "NCHW", "mean": 127.5, "std": 127.5}
QUANTIZED = FEED | {"dtype": "uint8", "scale": TENGINE.in_scale, "zero_point": TENGINE.in_zero}
RAW = {"height": 16, "width": 16, "layout": "NHWC", "dtype": "uint8"}


def put(tmp_path, data: bytes):
    path = tmp_path / "file.bin"
    path.write_bytes(data)
    return str(path)


def open_tengine(tmp_path, file=TENGINE, feed=QUANTIZED, **options):
    given = {"library": str(library("tengine")), "providers": ["CPU"], **options}
    return runtimes.open_runtime("tengine", put(tmp_path, file.data), given, Preprocessor(feed))


def open_rknn(tmp_path, generation=2, file=RKNN, feed=RAW, **options):
    given = {"library": str(library(f"rknn{generation}")), **options}
    return runtimes.open_runtime("rknn", put(tmp_path, file.data), given, Preprocessor(feed))


# ---- declarations


def declarations(header: str, *flags: str) -> dict[str, tuple[str, list[str]]]:
    """Functions of a header: name to result and parameter types."""
    words = [GCC, "-E", "-P", *flags, str(FOLDER / header)]
    text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    found = {}
    for result, name, inside in re.findall(r"^([\w* ]+?)\b(\w+)\(([^()]*)\);", text, re.MULTILINE):
        if not name.startswith("_"):
            parameters = [] if inside == "void" else [part.strip() for part in inside.split(",")]
            found[name] = (result.strip(), [declared(part) for part in parameters])
    return found


def declared(parameter: str) -> str:
    """`const int dims[]` as `int*`: no name, no const."""
    if parameter == "...":
        return parameter
    found = re.match(r"(?:const )?((?:struct )?\w+)\s*(\**)\s*\w*(\[\])?$", parameter)
    assert found, parameter
    return found.group(1) + found.group(2) + ("*" if found.group(3) else "")


C = ctypes
MEANING = {
    "void": None,
    "int": C.c_int,
    "uint32_t": C.c_uint32,
    "size_t": C.c_size_t,
    "char*": C.c_char_p,
    "int*": C.POINTER(C.c_int),
    "float*": C.POINTER(C.c_float),
    "struct options": tengine.Options,
    "rknn_query_cmd": C.c_int,
    "rknn_context": rknn.Context,
    "rknn_context*": C.POINTER(rknn.Context),
    "rknn_input*": C.POINTER(rknn.RknnInput),
    "rknn_output*": C.POINTER(rknn.RknnOutput),
    **dict.fromkeys(("void*", "context_t", "graph_t", "tensor_t", "node_t"), C.c_void_p),
}


@pytest.mark.parametrize(
    ("header", "flags", "signatures"),
    [
        ("tengine_api.h", [], tengine.SIGNATURES),
        ("rknn_api.h", ["-DRKNN_VERSION=1"], rknn.signatures(1)),
        ("rknn_api.h", ["-DRKNN_VERSION=2"], rknn.signatures(2)),
    ],
)
def test_each_function_is_called_with_the_declared_types(header, flags, signatures):
    known = declarations(header, *flags)
    assert set(signatures) <= set(known)
    for name, (result, arguments) in signatures.items():
        want_result, want = known[name]
        want_result = "char*" if want_result == "const char*" else want_result
        assert result is MEANING[want_result], name
        if want[-1:] == ["..."]:
            assert arguments is None, name
        else:
            assert arguments == [MEANING[each] for each in want], name
    if header == "rknn_api.h":
        assert len(signatures["rknn_init"][1]) == (5 if "2" in flags[0] else 4)


# ---- layouts

RKNN_HEADERS = [("rknn_api.h", "1"), ("rknn_api.h", "2")]
_SHARED = {
    "rknn_input_output_num": lambda pointer: rknn.InOutNum,
    "rknn_input": lambda pointer: structure(rknn.input_fields(pointer)),
    "rknn_output": lambda pointer: structure(rknn.output_fields(pointer)),
    "rknn_perf_run": lambda pointer: rknn.PerfRun,
    "rknn_sdk_version": lambda pointer: rknn.SdkVersion,
}
STRUCTURES = {
    "tengine_api.h": {"struct options": lambda pointer: tengine.Options},
    "rknn_api.h1": {"rknn_tensor_attr": lambda pointer: rknn.Attr1, **_SHARED},
    "rknn_api.h2": {"rknn_tensor_attr": lambda pointer: rknn.Attr2, **_SHARED},
}


def structure(fields):
    return type("Made", (ctypes.Structure,), {"_fields_": fields})


def needs_32_bit_gcc(tmp_path) -> None:
    (tmp_path / "empty.c").write_text("#include <stdint.h>\nint main(void) { return 0; }\n")
    words = [GCC, "-m32", "-o", str(tmp_path / "empty"), str(tmp_path / "empty.c")]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs gcc-multilib")


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize(("header", "version"), [("tengine_api.h", ""), *RKNN_HEADERS])
def test_structures_lie_as_a_c_compiler_lays_them(tmp_path, header, version, bits):
    """For 32 bits as on Arm, where 64-bit numbers are aligned to 8 bytes (gcc's -malign-double)."""
    flags = [f"-DRKNN_VERSION={version}"] if version else []
    if bits == 32:
        needs_32_bit_gcc(tmp_path)
        flags += ["-m32", "-malign-double", "-DFARM_ARM32"]
    pointer = ctypes.c_void_p if bits == 64 else ctypes.c_uint32
    lines, found = [], []
    for kind, make in STRUCTURES[header + version].items():
        made = make(pointer)
        fields = [field[0] for field in made._fields_]
        lines.append(f'printf("{kind} %zu", sizeof({kind}));')
        lines += [f'printf(" %zu", offsetof({kind}, {field}));' for field in fields]
        lines.append('printf("\\n");')
        sizes = [ctypes.sizeof(made), *(getattr(made, field).offset for field in fields)]
        found.append(" ".join([kind, *map(str, sizes)]))
    source, program = tmp_path / "layout.c", tmp_path / "layout"
    source.write_text(
        f'#include <stddef.h>\n#include <stdio.h>\n#include "{FOLDER / header}"\n'
        f"int main(void) {{ {' '.join(lines)} return 0; }}\n"
    )
    subprocess.run([GCC, *flags, "-o", program, source], check=True)
    told = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    assert told.splitlines() == found


def test_sizes_are_those_of_the_vendors_64_bit_headers():
    sizes = {rknn.Attr1: 360, rknn.Attr2: 376, rknn.SdkVersion: 512, tengine.Options: 24}
    for made, size in sizes.items():
        assert ctypes.sizeof(made) == size
    if ctypes.sizeof(ctypes.c_void_p) == 8:
        assert ctypes.sizeof(rknn.RknnInput) == 32
        assert ctypes.sizeof(rknn.RknnOutput) == 24
        assert rknn.Context is ctypes.c_uint64


@pytest.mark.slow
def test_a_32_bit_python_speaks_to_32_bit_libraries(tmp_path):
    """On a 32-bit Python, named by FARM_PYTHON32: RV1126's user space is a 32-bit one."""
    python = os.environ.get("FARM_PYTHON32")
    if not python:
        pytest.skip("FARM_PYTHON32 names no 32-bit Python")
    needs_32_bit_gcc(tmp_path)
    from .conformance import CASES
    from .conftest import Rows, features
    from .pipes import agent, session
    from .test_conformance import check, open_case

    for case in CASES:
        if case.name not in ("tengine-timvx-uint8", "rknn1", "rknn2"):
            continue
        flags = ("-m32", "-DFARM_ARM32") if case.runtime == "rknn" else ("-m32",)
        name = "tengine" if case.runtime == "tengine" else case.name
        there = str(library(name, *flags))
        folder = tmp_path / case.name
        folder.mkdir()
        with agent(folder, python=python) as channel, session(channel) as made:
            open_case(made, case, folder, options={**case.options(), "library": there})
            images = faces(5, 16)
            check(case, features(made.extract(Rows(images), timeout_s=20)), images)


# ---- generations


@pytest.mark.parametrize("generation", [1, 2])
def test_the_generation_is_told_by_what_the_library_has_not_by_its_name(tmp_path, generation):
    other = {1: "librknnrt.so", 2: "librknn_api.so"}[generation]
    renamed = tmp_path / other
    shutil.copy(library(f"rknn{generation}"), renamed)
    made = open_rknn(tmp_path, file=RKNN, library=str(renamed))
    try:
        assert made.version == {1: "1.7.5 (shim)", 2: "2.3.2 (shim)"}[generation] + ", driver 0.9.6"
        assert made.inputs == [{"name": "data", "shape": [1, 16, 16, 3], "dtype": "uint8"}]
        assert made.outputs == [{"name": "feature", "shape": [1, 24], "dtype": "float32"}]
    finally:
        made.close()


def test_the_small_chips_library_is_refused_with_what_runs_instead(tmp_path, monkeypatch):
    """It takes zero-copy buffers alone; the library here is RKNN 2's under its name."""
    path = tmp_path / "librknnmrt.so"
    shutil.copy(library("rknn2"), path)
    monkeypatch.setenv(runtimes.variable("rknn"), str(path))
    assert "takes zero-copy buffers alone" in rknn.probe(load=True)["problem"]
    with pytest.raises(AgentError, match="transport: simulator"):
        open_rknn(tmp_path, file=RKNN, library=str(path))


# ---- error codes


@pytest.mark.parametrize("code", sorted(rknn.ERRORS))
@pytest.mark.parametrize("function", ["rknn_init", "rknn_inputs_set", "rknn_run"])
def test_each_code_of_rknn_says_what_it_means(tmp_path, monkeypatch, function, code):
    made = open_rknn(tmp_path) if function != "rknn_init" else None
    monkeypatch.setenv("SHIM_FAIL", f"{function}={code}")
    try:
        with pytest.raises(AgentError) as caught:
            made.run(bytes(768)) if made else open_rknn(tmp_path)
    finally:
        if made:
            made.close()
    assert f"{function} on file.bin returned {code}, RKNN_ERR_" in caught.value.message
    kinds = {
        -1: "transient",
        -2: "transient",
        -6: "toolchain",
        -13: "toolchain",
        -14: "toolchain",
        -10: "board",
    }
    assert caught.value.kind == kinds.get(code, caught.value.kind)


@pytest.mark.parametrize("fail", ["rknn_query0", "rknn_query1", "rknn_query2", "rknn_query5"])
def test_a_query_that_fails_is_named(tmp_path, monkeypatch, fail):
    monkeypatch.setenv("SHIM_FAIL", f"{fail}=-7")
    with pytest.raises(AgentError, match=r"rknn_query of .* returned -7, RKNN_ERR_CTX_INVALID"):
        open_rknn(tmp_path)


def test_a_driver_that_keeps_no_time_is_timed_from_outside(tmp_path, monkeypatch):
    monkeypatch.setenv("SHIM_FAIL", "rknn_query4=-1")
    made = open_rknn(tmp_path)
    _, took = made.run(bytes(768))
    made.close()
    assert 0 < took != 4_321_000


def test_outputs_are_released_even_when_they_are_wrong(tmp_path, monkeypatch):
    count = tmp_path / "count"
    monkeypatch.setenv("SHIM_COUNT", str(count))
    made = open_rknn(tmp_path)
    monkeypatch.setenv("SHIM_FAIL", "size")
    for _ in range(2):  # a second run would be refused (-9) while the first's outputs are held
        with pytest.raises(AgentError, match="an output of 3 bytes, expected 24 float32"):
            made.run(bytes(768))
    monkeypatch.delenv("SHIM_FAIL")
    made.run(bytes(768))
    made.close()
    assert count.read_text().split("\n") == ["rknn_init", "rknn_destroy", ""]


TENGINE_FAILURES = {
    "init_tengine": ("board", "init_tengine failed"),
    "create_context": ("board", "create_context failed"),
    "set_context_device": ("board", "has no device of that name: it was built without TIM-VX"),
    "create_graph": ("toolchain", "create_graph failed on file.bin .TIMVX.: the file is no tmfile"),
    "get_graph_input_node_number": ("toolchain", "has 2 inputs, expected one"),
    "get_graph_output_node_number": ("toolchain", "has 2 outputs, expected one"),
    "get_graph_input_tensor": ("toolchain", "the file has no input"),
    "get_graph_output_tensor": ("toolchain", "the file has no output"),
    "get_tensor_shape": ("toolchain", "get_tensor_shape failed .* of its input"),
    "set_tensor_shape": ("toolchain", r"it does not take \[1, 3, 16, 16\]"),
    "set_tensor_buffer": ("toolchain", "its input has 768 bytes, the preprocessing makes 768"),
    "get_tensor_data_type": ("toolchain", "takes float16, expected float32, uint8 or int8"),
    "get_tensor_layout": ("toolchain", "takes NHWC, Tengine's NPU runs NCHW"),
    "get_tensor_quant_param": ("toolchain", "its input has not one scale"),
    "prerun_graph_multithread": ("toolchain", "galcore not loaded. and the TIM-VX libraries"),
    "run_graph": ("transient", "run_graph failed"),
    "get_tensor_buffer": ("transient", "there is no output"),
    "placement": ("toolchain", "does not run 1 of the file's layers: fc1 .FullyConnected. on CPU"),
}


@pytest.mark.parametrize("fail", sorted(TENGINE_FAILURES))
def test_each_failure_of_tengine_is_named_and_leaves_nothing_open(tmp_path, monkeypatch, fail):
    count = tmp_path / "count"
    monkeypatch.setenv("SHIM_COUNT", str(count))
    monkeypatch.setenv("SHIM_FAIL", fail)
    kind, words = TENGINE_FAILURES[fail]
    with pytest.raises(AgentError, match=words) as caught:
        open_tengine(tmp_path, providers=["TIMVX"])
    assert caught.value.kind == kind
    notes = count.read_text().split() if count.exists() else []
    assert notes.count("create_graph") == notes.count("destroy_graph")
    assert notes.count("create_context") == notes.count("destroy_context")
    assert "before" not in notes


def test_a_run_that_fails_is_told_and_the_next_may_work(tmp_path, monkeypatch):
    made = open_tengine(tmp_path)
    try:
        good, _ = made.run(bytes(768))
        monkeypatch.setenv("SHIM_FAIL", "run_graph")
        with pytest.raises(AgentError, match="run_graph failed"):
            made.run(bytes(768))
        monkeypatch.delenv("SHIM_FAIL")
        assert made.run(bytes(768))[0] == good
    finally:
        made.close()


# ---- what does not fit


def test_a_file_of_another_conversion_is_refused(tmp_path):
    wrong = QUANTIZED | {"scale": TENGINE.in_scale * 1.01}
    with pytest.raises(AgentError, match=r"file's input has scale 0\.00784.*, its manifest says"):
        open_tengine(tmp_path, feed=wrong)
    with pytest.raises(AgentError, match=r"zero point 127, its manifest says .* zero point 128"):
        open_tengine(tmp_path, feed=QUANTIZED | {"zero_point": 128})
    output = {"dtype": "uint8", "scale": 0.5, "zero_point": 120}
    with pytest.raises(AgentError, match=r"file's output has .* its manifest says scale 0.5"):
        open_tengine(tmp_path, interface={"output": output})
    with pytest.raises(AgentError, match=r"file's output has .* its manifest says scale 0.5"):
        open_rknn(tmp_path, interface={"output": output})
    # The tool's own rounding of a scale is no other conversion.
    open_tengine(tmp_path, feed=QUANTIZED | {"scale": 0.0078431}).close()


@pytest.mark.parametrize(
    ("feed", "words"),
    [
        (FEED, "the model takes uint8 .* the preprocessing makes float32"),
        (QUANTIZED | {"layout": "NHWC"}, r"takes uint8 \[1, 3, 16, 16\].*makes uint8 \[1, 16, 16"),
        (QUANTIZED | {"height": 8}, r"the preprocessing makes uint8 \[1, 3, 8, 16\]"),
        ({**QUANTIZED, "scale": None, "zero_point": 0}, "its manifest says no scale"),
    ],
)
def test_an_input_that_does_not_fit_a_tmfile_is_refused(tmp_path, feed, words):
    with pytest.raises(AgentError, match=words):
        open_tengine(tmp_path, feed=feed)


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize(
    ("feed", "words"),
    [
        (FEED, "the model takes uint8 .* the preprocessing makes float32"),
        (RAW | {"layout": "NCHW"}, r"takes uint8 \[1, 16, 16, 3\].*makes uint8 \[1, 3, 16"),
        (RAW | {"width": 8}, r"the preprocessing makes uint8 \[1, 16, 8, 3\]"),
        (RAW | {"scale": 0.1}, "the file's input has no scale, its manifest says scale 0.1"),
    ],
)
def test_an_input_that_does_not_fit_an_rknn_file_is_refused(tmp_path, generation, feed, words):
    with pytest.raises(AgentError, match=words):
        open_rknn(tmp_path, generation, feed=feed)


@pytest.mark.parametrize("data", [b"", b"root:x:0:0:root:/root", TENGINE.data[:12]])
def test_what_is_no_tmfile_never_reaches_a_library_that_would_crash_on_it(tmp_path, data):
    given = {"library": str(library("tengine")), "providers": ["CPU"]}
    with pytest.raises(AgentError, match=r"file\.bin is no tmfile of version 2") as caught:
        runtimes.open_runtime("tengine", put(tmp_path, data), given, Preprocessor(QUANTIZED))
    assert caught.value.kind == "toolchain"


def test_providers(tmp_path):
    with pytest.raises(AgentError, match="expected one of TIMVX, CPU"):
        open_tengine(tmp_path, providers=["CPUExecutionProvider"])
    with pytest.raises(AgentError, match="expected one of NPU"):
        open_rknn(tmp_path, providers=["NPU", "CPU"])


# ---- libraries


def test_a_library_that_is_not_there_or_is_another(tmp_path, monkeypatch):
    monkeypatch.delenv("FARM_TENGINE_LIB", raising=False)
    monkeypatch.setattr(native, "FOLDERS", (str(tmp_path / "lib"),))
    with pytest.raises(AgentError, match=r"no libtengine-lite\.so in .*runtime\.library"):
        open_tengine(tmp_path, library=None)
    with pytest.raises(AgentError, match=r"there is no library /nowhere/x.so on this board"):
        open_tengine(tmp_path, library="/nowhere/x.so")
    text = tmp_path / "text.so"
    text.write_text("not a library")
    with pytest.raises(AgentError, match=r"cannot load .*text\.so.*64-bit"):
        open_tengine(tmp_path, library=str(text))
    with pytest.raises(AgentError, match="has no function init_tengine: it is another library"):
        open_tengine(tmp_path, library=str(library("rknn1")))
    (tmp_path / "lib").mkdir()
    shutil.copy(library("tengine"), tmp_path / "lib" / "libtengine-lite.so.1.5")
    open_tengine(tmp_path, library=None).close()


def test_a_library_of_another_word_size_is_said_so(tmp_path):
    needs_32_bit_gcc(tmp_path)
    with pytest.raises(AgentError, match=r"cannot load .*ELF.*64-bit one"):
        open_rknn(tmp_path, library=str(library("rknn1", "-m32", "-DFARM_ARM32")))


@pytest.mark.parametrize(
    ("name", "shim", "version"),
    [("tengine", "tengine", ""), ("rknn", "rknn1", "1.7.5 "), ("rknn", "rknn2", "2.3.2 ")],
)
def test_a_probe_knows_the_library_without_loading_it(monkeypatch, tmp_path, name, shim, version):
    copy = tmp_path / f"{shim}-unloaded.so"
    shutil.copy(library(shim), copy)
    monkeypatch.setenv(runtimes.variable(name), str(copy))
    facts = runtimes.available()[name]
    assert re.fullmatch(version + "file [0-9a-f]{12}", facts["version"])
    assert copy.name not in Path("/proc/self/maps").read_text()
    with copy.open("ab") as file:
        file.write(b"another build")
    assert runtimes.available()[name]["version"] != facts["version"]
    loaded = runtimes.available(load=True)[name]
    assert loaded["providers"] == list({"tengine": tengine, "rknn": rknn}[name].PROVIDERS)
    assert not loaded.get("problem")
    monkeypatch.setenv(runtimes.variable(name), "/nowhere.so")
    assert "no library /nowhere.so" in runtimes.available()[name]["problem"]


def test_nothing_of_a_vendor_is_imported_by_a_probe(monkeypatch, tmp_path):
    (tmp_path / "rknnlite").mkdir()
    (tmp_path / "rknnlite" / "__init__.py").write_text("raise SystemExit('loaded')")
    (tmp_path / "rknn_toolkit_lite2-2.3.2-py3.egg-info").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(native, "FOLDERS", ())
    monkeypatch.delenv("FARM_RKNN_LIB", raising=False)
    assert rknn_lite.probe() == {"version": "RKNNLite 2.3.2"}
    assert runtimes.available()["rknn"]["version"] == "RKNNLite 2.3.2"


def test_quantized_values_become_the_nearest_float32():
    assert native.Quantized(0.1, 3) == (0.1, 3)
    described = {"name": "feature", "shape": [1, 256], "dtype": "uint8"}
    made = tengine._Output(0, described, "B", native.Quantized(0.007, 120))
    got = np.frombuffer(made.values(bytes(range(256))), "<f4")
    want = ((np.arange(256) - 120) * 0.007).astype(np.float32)
    np.testing.assert_array_equal(got, want)
