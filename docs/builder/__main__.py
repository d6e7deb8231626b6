"""`python -m docs.builder site`: build the documentation strictly into a folder."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from sphinx.cmd.build import build_main

from docs.builder.assemble import assemble
from docs.builder.outside import fetched


def build(site: Path) -> int:
    """Build into `site`, which is replaced. 0, or 1 after a warning or a load from outside."""
    with tempfile.TemporaryDirectory() as folder:
        source, fresh = Path(folder) / "source", Path(folder) / "site"
        pages = assemble(source)
        settings = str(Path(__file__).parent)
        words = ["-W", "--keep-going", "-q", "-b", "html", "-c", settings, "-d", f"{folder}/trees"]
        failed = build_main([*words, str(source), str(fresh)])
        if failed:
            return 1
        if outside := fetched(fresh):
            print("pages load from outside:", *outside, sep="\n  ", file=sys.stderr)
            return 1
        shutil.rmtree(site, ignore_errors=True)
        shutil.copytree(fresh, site)
    print(f"{len(pages)} pages: {site}/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1] if len(sys.argv) > 1 else "site")))
