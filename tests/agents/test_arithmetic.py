"""Which integer kernels are exact, and what is computed by them."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import pytest

from orchestrator.agents.host import arithmetic, emulation
from orchestrator.agents.runtimes.onnxruntime import Runtime
from orchestrator.agents.session.preprocess import Preprocessor
from orchestrator.scoring.integer_product import OnnxruntimeProduct, is_exact
from orchestrator.toolchains import twin_toolchain
from tests.toolchains import nets
from tests.toolchains.test_twins import U8, table

UNFUSED = "session.disable_quant_qdq"
NOT_MERGED = "session.disable_double_qdq_remover"


def said(runtime: Runtime, entry: str) -> str:
    try:
        return str(runtime._session.get_session_options().get_session_config_entry(entry))
    except RuntimeError:  # nothing was said of it
        return "0"


def cpuinfo(root: Path, flags: str) -> str:
    (root / "proc").mkdir()
    (root / "proc" / "cpuinfo").write_text(
        f"processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\n"
    )
    return str(root)


@pytest.mark.parametrize(
    ("machine", "flags", "program", "expected"),
    [
        ("x86_64", "fpu avx512f avx512_vnni sse", [], True),
        ("x86_64", "fpu avx2 avx_vnni", [], True),
        ("x86_64", "fpu avx2 avx512f", [], False),
        ("x86_64", "", [], False),
        ("x86_64", "fpu avx512_vnni", ["qemu-x86_64", "x86"], False),
        ("aarch64", "avx512_vnni", [], False),
    ],
)
def test_a_processors_flags_tell(
    machine: str,
    flags: str,
    program: list[str],
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(emulation, "program", lambda: program)
    assert arithmetic.exact_integers(cpuinfo(tmp_path, flags)) is expected


def test_what_is_unknown_is_not_trusted(tmp_path: Path) -> None:
    assert arithmetic.exact_integers(str(tmp_path)) is False


@pytest.mark.skipif(platform.machine() != "x86_64", reason="nothing is known of other processors")
def test_onnxruntime_adds_here_as_the_flags_say() -> None:
    assert is_exact(OnnxruntimeProduct(127), 64) is arithmetic.exact_integers()


@pytest.mark.parametrize(
    ("faithful", "stated", "exact", "fused"),
    [
        (None, True, True, True),
        (None, True, False, False),
        (None, False, True, False),
        (None, None, True, False),
        (True, True, True, False),
        (False, None, False, True),
    ],
)
def test_pairs_are_fused_where_that_is_exact(
    faithful: bool | None,
    stated: bool | None,
    exact: bool,
    fused: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arithmetic, "exact_integers", lambda: exact)
    chain = twin_toolchain("tengine")
    made = chain.convert(chain.quantize(nets.iresnet(), table(), U8).data)
    path = tmp_path / "model.onnx"
    path.write_bytes(made.data)
    options: dict[str, Any] = {"faithful": faithful, "interface": {"integer_sums": stated}}
    runtime = Runtime(str(path), options, Preprocessor({**nets.PREPROCESSING, "dtype": "float32"}))
    assert (said(runtime, UNFUSED) == "0") is fused
    # Two pairs one behind the other both round, unless the board runs as onnxruntime does.
    assert (said(runtime, NOT_MERGED) == "1") is (faithful is not False)
