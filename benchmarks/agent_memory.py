"""What an agent's two processes occupy during a long extraction, under a limit of 256 MB each.

`ulimit -v` bounds the address space of the session's process and of the runtime's child alike;
the timed runtime adds nothing of its own. `python -m benchmarks agent_memory --images N`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks._boards import Images, server, session

LIMIT_KIB = 256 << 10
LOOKS = 5


def memory(pid: int) -> tuple[float, float]:
    """Resident and peak virtual memory of a process, MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    resident, peak = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmPeak"))
    return resident, peak


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks agent_memory", description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    count = parser.parse_args().images
    with (
        server() as where,
        session(where, before=f"ulimit -v {LIMIT_KIB}; ", ms=0, dim=512) as made,
    ):
        model = made._model
        assert model is not None
        parent = int(Path(f"/proc/{model.pid}/stat").read_text().rpartition(")")[2].split()[1])
        pids = {"session": parent, "runtime's child": model.pid}
        seen: dict[str, list[float]] = {name: [] for name in pids}
        done, due = 0, count // LOOKS
        for block in made.extract(Images(count), timeout_s=60):
            done += len(block.rows)
            if done >= due:
                due += count // LOOKS
                for name, pid in pids.items():
                    seen[name].append(memory(pid)[0])
        assert done == count
        print(f"{count:,} images over {where.what}, {LIMIT_KIB >> 10} MiB of address space each")
        for name, pid in pids.items():
            steps = " ".join(f"{value:.1f}" for value in seen[name])
            growth = seen[name][-1] - seen[name][0]
            print(
                f"{name}: resident after each {100 // LOOKS} %: {steps} MiB "
                f"(growth {growth:+.1f}); peak virtual {memory(pid)[1]:.0f} MiB"
            )


if __name__ == "__main__":
    main()
