"""Boards of a run behind a real OpenSSH server, each with sensors and a runtime as wanted.

farm takes them for boards, since nothing but their Python tells where they are: what `python:` of
the inventory starts is a script that shows the agent another sysfs, or puts another onnxruntime in
front of the real one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.openssh import SshdAddress

THERMAL = "sys/class/thermal"
CALM = {
    f"{THERMAL}/thermal_zone0/type": "soc-thermal",
    f"{THERMAL}/thermal_zone0/temp": "51000",
    f"{THERMAL}/cooling_device0/type": "thermal-cpufreq-0",
    f"{THERMAL}/cooling_device0/cur_state": "0",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1800000",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq": "408000",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1800000",
    "sys/class/hwmon/hwmon0/name": "ina3221",
    "sys/class/hwmon/hwmon0/in1_label": "VDD_IN",
    "sys/class/hwmon/hwmon0/in1_input": "5000",
    "sys/class/hwmon/hwmon0/curr1_input": "1600",
    "sys/module/galcore/version": "6.4.8",
    "proc/meminfo": "MemTotal: 4096000 kB\nMemAvailable: 3000000 kB",
    "proc/cpuinfo": "model name : a board's processor",
    "proc/sys/kernel/random/boot_id": "boot-1",
}
JITTER = '''\
"""The real onnxruntime, behind the jitter of a board that something else keeps busy."""
__version__ = "{version}"
import random, sys, time
_here, sys.path[:] = sys.path[:], [place for place in sys.path if place != {folder!r}]
del sys.modules["onnxruntime"]
import onnxruntime as _real
sys.path[:] = _here
class InferenceSession(_real.InferenceSession):
    def run(self, *given, **named):
        time.sleep(random.random() * {seconds})
        return super().run(*given, **named)
_real.InferenceSession = InferenceSession
'''


def make_board(
    folder: Path,
    name: str,
    sshd: SshdAddress,
    key: Path,
    *,
    sysfs: dict[str, str] | None = None,
    jitter_s: float = 0.0,
    runtime: str = "onnxruntime",
    more: str = "",
    kind: str = "host-cpu",
    machine: str = "",
) -> str:
    """A board's files, and its entry in the inventory.

    Args:
        sysfs: what its sensors say beside `CALM`.
        jitter_s: added to an inference at most.
        runtime: as in the inventory.
        more: more of its entry.
        kind: what its entry says it is.
        machine: what its Python calls its processor, instead of this host's.
    """
    root = folder / name / "root"
    for path, text in (CALM | (sysfs or {})).items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text + "\n")
    lines = ["#!/bin/sh"]
    if machine:
        site = folder / name / "site"
        site.mkdir()
        said = f"import platform\nplatform.machine = lambda: {machine!r}\n"
        (site / "sitecustomize.py").write_text(said)
        lines.append(f"export PYTHONPATH='{site}'")
    if jitter_s:
        import onnxruntime

        noisy = folder / name / "noisy"
        (noisy / "onnxruntime").mkdir(parents=True)
        text = JITTER.format(version=onnxruntime.__version__, folder=str(noisy), seconds=jitter_s)
        (noisy / "onnxruntime" / "__init__.py").write_text(text)
        lines.append(f"export PYTHONPATH='{noisy}'")
    # Only the agent's own commands know --root; the rest is plain Python.
    lines += [
        f'case "$1" in *agent-*.pyz) exec "{sys.executable}" "$@" --root "{root}";; esac',
        f'exec "{sys.executable}" "$@"',
    ]
    python = folder / name / "python3"
    python.write_text("\n".join(lines) + "\n")
    python.chmod(0o755)
    return (
        f"  - name: {name}\n    kind: {kind}\n    hardware: {name}\n"
        f"    transport: {{ssh: {{host: 127.0.0.1, port: {sshd.port}, user: {sshd.user},"
        f" key: {key}, host_key: {sshd.host_key}}}}}\n"
        f"    contention_domain: this-host\n"
        f"    python: {python}\n    workdir: {folder / name / 'farm'}\n"
        f"    runtime: {runtime}\n{more}"
    )
