"""What a board is, asked by one read-only shell script that needs no Python there.

The script prints lines `farm:<key>=<value>`. Everything it says is somebody else's word: made
printable, bounded, and believed only for choosing a kind that a person sees before it is written.
`FARM_PROBE_ROOT`, set in the board's environment, moves the files that are read (for tests, and
for a board whose vendor's system lives in a chroot).
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.agents.host.identity import ACCELERATORS
from orchestrator.errors import BoardError
from orchestrator.fleet.boards.deadlines import PROBE_S
from orchestrator.fleet.session.types import clean_text
from orchestrator.fleet.transport.channel import Transport
from orchestrator.fleet.transport.commands import ITS_OWN_PYTHON, said
from orchestrator.planning.emulation import fitting
from orchestrator.planning.evidence import Evidence
from orchestrator.planning.identity import SOC, TREE, judge
from orchestrator.specs.kinds import Kind
from orchestrator.specs.runtimes import Descriptor, board_runtimes, runtimes

_LINE = re.compile(rb"^farm:([a-z_]+)=(.*)$", re.MULTILINE)
_MAX_VALUES = 64
_SUFFIX = re.compile(r"\.so\.([0-9][0-9.]*)$")
_NUMBER = re.compile(r"\d+(?:\.\d+)+[\w.-]*")
_DIST = re.compile(r"/([A-Za-z0-9_]+)-([0-9][\w.]*)(?:-[^/]*)?\.(?:dist|egg)-info$")

# Libraries below a runtime's own: their versions are shown.
_BELOW = ("libOpenVX", "libvx_delegate")

_SCRIPT = r"""
R="${FARM_PROBE_ROOT:-}"
@PYTHON@
# Each line begins with a line's end: what something in the background prints may lack one.
say() { [ -n "$2" ] && printf '\nfarm:%s=%s\n' "$1" "$2"; }
first() { [ -r "$R$1" ] && tr '\000' '\n' < "$R$1" 2>/dev/null | head -c 2000 | head -n 1; }
text() { say "$1" "$(first "$2")"; }
text model /proc/device-tree/model
if [ -r "$R/proc/device-tree/compatible" ]; then
  tr '\000' '\n' < "$R/proc/device-tree/compatible" | head -n 32 |
    while IFS= read -r v; do say compatible "$v"; done
fi
for f in family machine soc_id; do text soc "/sys/devices/soc0/$f"; done
for d in "$R"/sys/devices/soc[0-9]* "$R"/sys/bus/soc/devices/*; do
  [ -d "$d" ] || continue
  d=${d#"$R"}; f=$(first "$d/family"); i=$(first "$d/soc_id"); say chip "$f${f:+${i:+ }}$i"
done
for f in @ACCELERATORS@; do [ -e "$R${f#*=}" ] && say accelerator "${f%%=*}"; done
text l4t /etc/nv_tegra_release
say machine "$(uname -m)"; say kernel "$(uname -r)"; say time "$(date +%s)"
say os "$(sed -n 's/^PRETTY_NAME=//p' "$R/etc/os-release" 2>/dev/null | head -n 1 | tr -d '"')"
say memory "$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' "$R/proc/meminfo" 2>/dev/null)"
say cores "$(grep -c '^processor' "$R/proc/cpuinfo" 2>/dev/null)"
say cpu "$(sed -n -e 's/^model name[^:]*: *//p' -e 's/^Hardware[^:]*: *//p' \
  "$R/proc/cpuinfo" 2>/dev/null | head -n 1)"
for f in @FILES@; do [ -e "$R$f" ] && say file "$f"; done
for m in galcore rknpu nvgpu; do
  [ -e "$R/sys/module/$m" ] && say driver "$m $(first "/sys/module/$m/version")"
done
for d in "$R"/dev/galcore "$R"/dev/rknpu "$R"/dev/nvhost-gpu "$R"/dev/nvidia0 \
  "$R"/dev/dri/renderD*; do [ -e "$d" ] && say device "${d#"$R"}"; done
for d in "$R"/usr/lib "$R"/usr/lib64 "$R"/usr/lib/*-linux-gnu* "$R"/usr/lib/*-linux-gnu*/tegra \
  "$R"/usr/local/lib "$R"/lib "$R"/lib64 "$R"/opt/*/lib "$R"/oem/usr/lib "$R"/vendor/lib \
  "$R"/vendor/lib64 "$R"/userdata/lib; do
  for f in @LIBRARIES@; do
    [ -f "$f" ] || continue
    v=
    case "$f" in
    */librknn*) v=$(head -c 33554432 "$f" | LC_ALL=C tr -c ' -~' '\n' |
      grep -m 1 -E 'librknn[a-z_]* version' | head -c 200) ;;
    esac
    say library "${f#"$R"} $v"
  done
done
for p in python3 python3.6 python3.7 python3.8 python3.9 python3.10 python3.11 python3.12 \
  python3.13 python; do
  q=$(command -v "$p" 2>/dev/null) || continue
  v=$("$p" -c 'import sys; print("%d.%d.%d" % tuple(sys.version_info[:3]))' 2>/dev/null) || continue
  say python "$q $v"
done
for d in "$R"/usr/lib/python3* "$R"/usr/local/lib/python3*; do
  for f in @PACKAGES@; do
    [ -e "$f" ] && say package "${f#"$R"}"
  done
done
python3 -c 'import importlib.util as u
for m in (@MODULES@):
    s = u.find_spec(m)
    if s and s.origin:
        print("\nfarm:module=" + m + " " + s.origin)' 2>/dev/null
for z in "$R"/sys/class/thermal/thermal_zone*; do
  [ -r "$z/temp" ] || continue
  z=${z#"$R"}; say heat "$(first "$z/temp") $(first "$z/type")"
done
for f in "$R"/sys/devices/system/cpu/cpu[0-9]*/cpufreq; do
  [ -d "$f" ] || continue
  f=${f#"$R"}; c=${f%/cpufreq}
  say clock "$(first "$f/scaling_cur_freq")000 $(first "$f/scaling_max_freq")000 ${c##*/}"
done
for f in "$R"/sys/class/devfreq/*; do
  [ -d "$f" ] || continue
  f=${f#"$R"}; say clock "$(first "$f/cur_freq") $(first "$f/max_freq") ${f##*/}"
done
h="${HOME:-.}"; [ -w "$h" ] && say home "$h"
for d in /userdata /data /mnt/data /var/tmp /tmp; do
  [ -d "$d" ] && [ -w "$d" ] && say writable "$d"
done
say end 1
"""


@dataclass(frozen=True)
class Library:
    """A vendor's library: its path on the board and its version, empty when it does not tell."""

    path: str
    version: str


@dataclass(frozen=True)
class Clock:
    """A clock in MHz: now, and at most; 0 when not reported."""

    now_mhz: float
    max_mhz: float


@dataclass(frozen=True)
class BoardProbe:
    """A board as its files describe it. Texts are printable and short; nothing else is checked.

    Attributes:
        model, compatible: of the device tree, the most specific name first; empty on a PC.
        soc: what the kernel calls the chip; `chips`: family and id of each.
        accelerators: those whose driver is there, by name.
        memory_bytes: 0 when not reported.
        pythons: path and version, `python3` first.
        files: those of the kinds' signatures that exist.
        libraries: by name without `.so`.
        packages: versions of Python packages by name; empty text when not reported.
        drivers: versions of accelerators' kernel drivers; empty text when not reported.
        devices: accelerators' device nodes.
        temperatures_c, clocks: by zone, and by processor or accelerator.
        clock_behind_s: how far the board's calendar is behind this machine's; None if unknown.
        home_writable: whether farm's folder can be made in the user's home.
        writable: other folders that can be written, those that outlive a reboot first.
    """

    model: str = ""
    compatible: tuple[str, ...] = ()
    soc: tuple[str, ...] = ()
    chips: tuple[str, ...] = ()
    accelerators: tuple[str, ...] = ()
    machine: str = ""
    kernel: str = ""
    os: str = ""
    cpu: str = ""
    cores: int = 0
    memory_bytes: int = 0
    pythons: tuple[tuple[str, str], ...] = ()
    files: frozenset[str] = frozenset()
    libraries: Mapping[str, Library] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    drivers: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    temperatures_c: Mapping[str, float] = field(default_factory=dict)
    clocks: Mapping[str, Clock] = field(default_factory=dict)
    clock_behind_s: float | None = None
    home_writable: bool = False
    writable: tuple[str, ...] = ()

    @property
    def seen(self) -> Evidence:
        """What names the board, as it is judged."""
        return Evidence(self.machine, self.compatible, self.model, self.chips, self.accelerators)

    @property
    def runtimes(self) -> dict[str, str]:
        """Runtimes that seem to be installed, by name: where they were seen, with the version."""
        found: dict[str, str] = {}
        for runtime, known in _on_boards().items():
            libraries = _stems(known.libraries)
            seen = [
                f"{each.path} {each.version}".strip()
                for name, each in self.libraries.items()
                if name in libraries
            ]
            if known.package in self.packages:
                version = self.packages[known.package]
                seen.append(f"Python package {known.package} {version}".strip())
            if seen:
                found[runtime] = ", ".join(seen)
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain JSON for the fleet log and `--json`."""
        return {
            "model": self.model,
            "compatible": list(self.compatible),
            "soc": list(self.soc),
            "chips": list(self.chips),
            "accelerators": list(self.accelerators),
            "machine": self.machine,
            "kernel": self.kernel,
            "os": self.os,
            "cpu": self.cpu,
            "cores": self.cores,
            "memory_bytes": self.memory_bytes,
            "pythons": [list(pair) for pair in self.pythons],
            "files": sorted(self.files),
            "libraries": {n: f"{e.path} {e.version}".strip() for n, e in self.libraries.items()},
            "packages": dict(self.packages),
            "drivers": dict(self.drivers),
            "devices": list(self.devices),
            "temperatures_c": dict(self.temperatures_c),
            "clocks_mhz": {n: [each.now_mhz, each.max_mhz] for n, each in self.clocks.items()},
            "clock_behind_s": self.clock_behind_s,
            "runtimes": self.runtimes,
        }


def _on_boards() -> dict[str, Descriptor]:
    return {name: runtimes()[name] for name in board_runtimes()}


def _stems(libraries: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.partition(".so")[0] for name in libraries)


def _shown() -> tuple[str, ...]:
    """Libraries that are looked for, without `.so`."""
    return tuple(s for each in _on_boards().values() for s in _stems(each.libraries)) + _BELOW


def _script(files: Iterable[str]) -> str:
    """The script that asks for these files, and for what the table of runtimes has."""
    known = _on_boards().values()
    places = [f"{name}={place}" for name, places in ACCELERATORS for place in places]
    parts = {
        "FILES": shlex.join(files) or "''",
        "PYTHON": ITS_OWN_PYTHON,
        "ACCELERATORS": shlex.join(places),
        "LIBRARIES": " ".join(f'"$d"/{name}.so*' for name in _shown()),
        "PACKAGES": " ".join(
            f'"$d"/*-packages/{each.distribution}*-info' for each in known if each.distribution
        ),
        "MODULES": "".join(f'"{each.package}", ' for each in known if each.package),
    }
    script = _SCRIPT
    for name, text in parts.items():
        script = script.replace(f"@{name}@", text)
    return script


def probe(
    transport: Transport, kinds: Iterable[Kind], *, board: str, timeout_s: float = PROBE_S
) -> BoardProbe:
    """Ask a connected board what it is.

    Raises:
        BoardError: it has no shell that runs the script to its end.
        TransientError: the link failed or time ran out.
    """
    script = _script(sorted({path for kind in kinds for path in kind.signatures.files}))
    asked = time.time()
    result = transport.run("sh -s", stdin=script.encode(), timeout_s=timeout_s)
    found = read(result.stdout, asked)
    if found is None:
        raise BoardError(
            f"{board}: its shell did not run the probe to its end: {said(result)}",
            "farm needs a POSIX shell as `sh` on the board; does `ssh` to it run commands?",
        )
    return found


def read(output: bytes, now: float) -> BoardProbe | None:
    """The probe's output; None when it does not reach its end.

    Args:
        output: what the board printed, up to 1 MiB; other lines are skipped.
        now: this machine's Unix time.
    """
    said: dict[str, list[str]] = {}
    for match in _LINE.finditer(output):
        values = said.setdefault(match[1].decode(), [])
        value = clean_text(match[2].decode("utf-8", "replace"))
        if value and len(values) < _MAX_VALUES:
            values.append(value)
    if "end" not in said:
        return None

    def one(key: str) -> str:
        return said.get(key, [""])[0]

    board_time = _whole(one("time"))
    return BoardProbe(
        model=one("model"),
        compatible=tuple(said.get("compatible", ())),
        soc=tuple(dict.fromkeys(said.get("soc", ()))),
        chips=tuple(dict.fromkeys(said.get("chip", ()))),
        accelerators=tuple(dict.fromkeys(said.get("accelerator", ()))),
        machine=one("machine"),
        kernel=one("kernel"),
        os=one("os") or one("l4t"),
        cpu=one("cpu"),
        cores=_whole(one("cores")),
        memory_bytes=_whole(one("memory")) * 1024,
        pythons=_pairs(said.get("python", ())),
        files=frozenset(said.get("file", ())),
        libraries=_libraries(said.get("library", ())),
        packages=_packages(said.get("package", ()), said.get("module", ())),
        drivers={name: version for name, _, version in map(_split, said.get("driver", ()))},
        devices=tuple(said.get("device", ())),
        temperatures_c=_heat(said.get("heat", ())),
        clocks=_clocks(said.get("clock", ())),
        clock_behind_s=round(now - board_time, 0) if board_time else None,
        home_writable="home" in said,
        writable=tuple(said.get("writable", ())),
    )


def _split(value: str) -> tuple[str, str, str]:
    return value.partition(" ")


def _pairs(values: Iterable[str]) -> tuple[tuple[str, str], ...]:
    pairs = (_split(value) for value in values)
    return tuple((path, version) for path, _, version in pairs if version)


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def _libraries(values: Iterable[str]) -> dict[str, Library]:
    found: dict[str, Library] = {}
    shown = _shown()
    for value in values:
        path, _, words = _split(value)
        name = path.rsplit("/", 1)[-1].split(".so")[0]
        if name not in shown:
            continue
        suffix, inside = _SUFFIX.search(path), _NUMBER.search(words)
        version = inside.group() if inside else suffix.group(1) if suffix else ""
        # Of the links to one library, the longest name tells the version best.
        if name not in found or len(version) > len(found[name].version):
            found[name] = Library(path, version)
    return found


def _packages(folders: Iterable[str], modules: Iterable[str]) -> dict[str, str]:
    found = {name: "" for name, _, _ in map(_split, modules)}
    for folder in folders:
        match = _DIST.search(folder)
        if match:
            name = _package(match[1].lower())
            found[name] = found.get(name) or match[2]
    return found


def _package(distribution: str) -> str:
    """The package that a distribution brings."""
    for each in _on_boards().values():
        if each.distribution and f"{distribution}-".startswith(each.distribution):
            return each.package
    return distribution


def _heat(values: Iterable[str]) -> dict[str, float]:
    heat: dict[str, float] = {}
    for value in values:
        millidegrees, _, name = _split(value)
        number = _whole(millidegrees)
        if 0 < number < 250_000:
            heat.setdefault(name or f"zone {len(heat)}", number / 1000)
    return heat


def _clocks(values: Iterable[str]) -> dict[str, Clock]:
    clocks: dict[str, Clock] = {}
    for value in values:
        now, _, rest = _split(value)
        most, _, name = _split(rest)
        if name and (_whole(now) or _whole(most)):
            clocks[name] = Clock(_whole(now) / 1e6, _whole(most) / 1e6)
    return clocks


@dataclass(frozen=True)
class Recognition:
    """Which kind a board is.

    Attributes:
        kind: None when no kind's signature fits.
        certain: whether a person need not be asked.
        because: what it was recognised by, in words.
        notes: what was not recognised, and what this kind should have and has not.
    """

    kind: Kind | None
    certain: bool
    because: str
    notes: tuple[str, ...] = ()


def recognise(board: BoardProbe, kinds: Iterable[Kind]) -> Recognition:
    """Choose the kind whose signature fits the board's most specific device-tree name.

    A kind that is named after its chip (`rk3588`) takes every board with that chip. A kind that is
    named after a board (`khadas-vim3`) takes that board; another board with the same chip is only
    likely to be of that kind, and a person is asked, unless its device tree or its chip says that
    it is another. Without a device tree, a file that only one kind has decides.
    """
    known = [k for k in kinds if not {TREE, SOC} & judge(k, board.seen).contradicts.keys()]
    for place, name in enumerate(board.compatible):
        fits = [kind for kind in known if fitting([name], _names(kind))]
        if fits:
            return _by_tree(board, fits, place, name)
    by_file = [k for k in known if board.files & set(k.signatures.files)]
    if board.compatible:
        compatible = ", ".join(board.compatible)
        return Recognition(None, False, "", (f"no kind knows the device tree's {compatible}",))
    if len(by_file) == 1:
        seen = ", ".join(sorted(board.files & set(by_file[0].signatures.files)))
        return Recognition(by_file[0], True, f"{seen} is there")
    if by_file:
        names = " or ".join(kind.name for kind in by_file)
        return Recognition(None, False, "", (f"no device tree; by its files it is {names}",))
    what = board.cpu or board.machine or "an unknown processor"
    return Recognition(None, False, "", (f"no device tree and no known accelerator ({what})",))


def _names(kind: Kind) -> tuple[str, ...]:
    return (*kind.signatures.device_tree, *kind.signatures.family)


def _by_tree(board: BoardProbe, fits: list[Kind], place: int, name: str) -> Recognition:
    chip = name.rsplit(",", 1)[-1]
    # Of several kinds with one chip, the one of which more files are there.
    fits.sort(key=lambda kind: (-len(board.files & set(kind.signatures.files)), kind.name))
    kind = fits[0]
    certain = len(fits) == 1 and (place == 0 or chip.startswith(kind.name))
    notes = []
    if place > 0:
        notes.append(f"the board itself, {board.compatible[0]}, is in no kind's signature")
    missing = [path for path in kind.signatures.files if path not in board.files]
    if missing:
        notes.append(f"{', '.join(missing)} is missing: is the vendor's driver or library there?")
    if kind.runtime not in board.runtimes:
        notes.append(f"the kind's own runtime, {kind.runtime}, was not found")
    return Recognition(kind, certain, f"the device tree says {name}", tuple(notes))


def usable_python(board: BoardProbe) -> str | None:
    """What to write as `python`: `python3` where it is 3.6 or later, else the path of another."""
    for path, version in board.pythons:
        numbers = tuple(_whole(part) for part in version.split(".")[:2])
        if numbers >= (3, 6):
            return "python3" if path.rsplit("/", 1)[-1] == "python3" else path
    return None
