"""`python -m benchmarks [NAME]`: every benchmark, or one; a line a figure."""

from __future__ import annotations

import difflib
import pkgutil
import runpy
import sys
from pathlib import Path


def main() -> int:
    """Run the benchmark modules of this folder."""
    found = [m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)])]
    names = [name for name in found if not name.startswith("_")]
    wanted, sys.argv = sys.argv[1:2], sys.argv[:1] + sys.argv[2:]
    for name in wanted or names:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            print(f"no benchmark {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
            print(f"there are: {', '.join(names)}")
            return 2
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
