"""What never ran on real hardware, from the kinds of boards, runtimes and vendors' rules."""

from __future__ import annotations

from collections.abc import Mapping

from docs.builder.generated.markdown import cell, table
from orchestrator.specs.kinds import Kind, load_kinds
from orchestrator.toolchains.vendor_rules import VendorRule
from orchestrator.toolchains.vendors import rknn, rknn1, tengine

# Kinds whose hardware ran farm, with who reported it. Without an entry: never.
RAN: Mapping[str, str] = {
    "host-cpu": "every run of the tests, on x86 computers",
}
# What the tests run in a vendor's place, by runtime; the file says more.
SUBSTITUTES: Mapping[str, tuple[str, str]] = {
    "onnxruntime": (
        "the real library, on x86; on 64-bit and 32-bit Arm under QEMU",
        "tests/run/test_machines.py",
    ),
    "tensorrt": (
        "a pretended `tensorrt` with the real bindings' names, and a pretended `trtexec`; "
        "onnxruntime computes. NVIDIA's own lean runtime is loaded without a card, and refused "
        "(`make test-vendor`); the builder's 2 GB are on NVIDIA's own index alone and need a card",
        "tests/agents/fake_tensorrt.py",
    ),
    "tengine": (
        "a library compiled from Tengine's public declarations; Tengine's own library on an x86 "
        "CPU where it is installed. The former on 64-bit and 32-bit Arm under QEMU as well "
        "(`make test-userlands`). The NPU never",
        "tests/agents/conformance.py",
    ),
    "rknn": (
        "libraries compiled from Rockchip's public declarations, of both generations, on x86 and "
        "on 64-bit and 32-bit Arm under QEMU (`make test-userlands`)",
        "tests/agents/conformance.py",
    ),
    "rknn_simulator": (
        "rknn-toolkit2's own simulator on x86, in every CI run (`make test-vendor`)",
        "tests/toolchains/test_rknn_real.py",
    ),
}
# What the tests run of each toolchain's vendor tools.
TOOLS: Mapping[str, tuple[str, str]] = {
    "onnxruntime": ("needs no tool", "tests/toolchains/test_conformance.py"),
    "tensorrt": (
        "needs no tool here; the board's builder is pretended",
        "tests/agents/test_tensorrt.py",
    ),
    "tengine": (
        "substitutes of `convert_tool` and `quant_tool_uint8`; the real ones where they are "
        "installed",
        "tests/toolchains/fake_tengine.py",
    ),
    "rknn": (
        "rknn-toolkit2 for real, in every CI run (`make test-vendor`)",
        "tests/toolchains/test_rknn_real.py",
    ),
    "rknn1": ("a substitute: the 1.x toolkit is on no index", "tests/toolchains/test_rknn1.py"),
}
# What the host and the board do beside inference.
PARTS: tuple[tuple[str, str, str], ...] = (
    ("SSH", "real servers: OpenSSH and dropbear, on loopback", "tests/dropbear.py"),
    (
        "Recognizing a board",
        "device trees, drivers and libraries faked in a folder",
        "tests/fleet/dressed.py",
    ),
    (
        "Temperatures, clocks, throttling",
        "sysfs files written by the tests",
        "tests/agents/test_board_files.py",
    ),
    (
        "Power that is cut, reset, kernel panic, network, full disk, a clock in 1970",
        "a virtual aarch64 board that boots; power is cut by killing QEMU",
        "tests/run/test_virtual_board.py",
    ),
    (
        "A Buildroot-like board",
        "a read-only root with busybox, dropbear without SFTP and a Python without ctypes, on "
        "this host's processor",
        "tests/busybox_board.py",
    ),
    ("Holding clocks", "sysfs files written by the tests", "tests/agents/test_pinning.py"),
    (
        "NVIDIA cards (NVML)",
        "a library compiled from the public declarations",
        "tests/agents/test_nvml.py",
    ),
    (
        "Python 3.6 on a board",
        "every interpreter that is installed here",
        "tests/agents/test_interpreters.py",
    ),
    (
        "Ray clusters of several machines",
        "several nodes on one machine",
        "tests/run/test_clusters.py",
    ),
    ("Power switches", "a program of the tests", "tests/fleet/test_recovery.py"),
)
RULES: Mapping[str, VendorRule] = {
    "Tengine": tengine.RULE,
    "RKNN 1.x": rknn1.RULE,
    "RKNN 2": rknn.CHANNEL_RULE,
}


def page() -> str:
    """The whole page."""
    parts = [[part, cell(text), f"`{file}`"] for part, text, file in PARTS]
    kinds = sorted(load_kinds().values(), key=lambda kind: (kind.name in RAN, kind.name))
    return f"""# What never ran on real hardware
No vendor's board was at hand when farm was written. This page says what ran in each one's place. It
is generated from farm's kinds of boards, and a test compares it with the code: a new runtime or
toolchain fails the tests until it has a line here.

If you ran farm on one of these boards, please report what worked and what did not.

## Boards
{table(["kind", "hardware", "runtime", "toolchain", "ran on it"], [_kind(kind) for kind in kinds])}
The names by which farm recognizes these boards are from the Linux kernel's device trees and from
public listings.

## Runtimes: what the tests run in their place
{table(["runtime", "in the tests", "see"], _rows(SUBSTITUTES))}
## Vendors' tools
{table(["toolchain", "in the tests", "see"], _rows(TOOLS))}
## Around the inference
{table(["part", "in the tests", "see"], parts)}
## What the twins know
{_rules()}
[What twins know and do not know](twins.md) says what follows from this.
"""


def _kind(kind: Kind) -> list[str]:
    return [
        f"`{kind.name}`",
        cell(kind.hardware),
        kind.runtime,
        kind.toolchain,
        RAN.get(kind.name, "never"),
    ]


def _rows(found: Mapping[str, tuple[str, str]]) -> list[list[str]]:
    return [[f"`{name}`", cell(text), f"`{file}`"] for name, (text, file) in found.items()]


def _rules() -> str:
    rows = [[name, cell(fact)] for name, rule in RULES.items() for fact in rule.facts]
    return table(["vendor", "farm's rule, as each artifact's manifest states it"], rows)
