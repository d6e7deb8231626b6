"""`farm serve`: the server of `orchestrator/serving`, where its extra is installed."""

from __future__ import annotations

from pathlib import Path

from orchestrator.bundle.manifest import Limits
from orchestrator.errors import UserError

INSTALL = "pip install 'facefarm[serve]'; in farm's checkout: pip install -e '.[serve]'"
EXTRA = ("starlette", "uvicorn", "h11", "anyio")


def serve_project(
    inventory: str,
    state: str,
    runs: str,
    *,
    host: str,
    port: int,
    token_file: str,
    certificate: str,
    key: str,
    behind_proxy: str,
    actions: bool,
    limits: tuple[int, int, int],
) -> int:
    """Serve until Ctrl-C.

    Args:
        limits: of what is sent for a run: bytes of a file, bytes of all, files.

    Raises:
        UserError: the extra is not installed, the place is refused or taken.
    """
    try:
        from orchestrator.serving.project import Project
        from orchestrator.serving.server import Place, serve
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRA:
            raise
        raise UserError(f"`farm serve` needs {missing}, which is not installed", INSTALL) from None
    place = Place(
        host=host,
        port=port,
        token_file=token_file,
        certificate=certificate,
        key=key,
        behind_proxy=behind_proxy,
    )
    serve(
        Project(Path(inventory), Path(runs), Path(state)),
        place,
        lambda line: print(line, flush=True),
        actions=actions,
        limits=Limits(*limits),
    )
    return 0
