"""`farm serve`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types

PORT = 8765
HOST = "127.0.0.1"


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise ValueError(f"expected a port, 0 to 65535, not {text!r}")
    return int(text)


@declare(
    "serve",
    "runs, boards and figures in a browser",
    section=Section.RESULTS,
    examples=["farm serve", "farm serve --port 0"],
    text="Serve runs, boards and figures as web pages, live and read-only. The link that is "
    "printed has a token, which every request needs.",
)
@click.option(
    "--port",
    type=types.Read("port", _port),
    default=PORT,
    metavar="N",
    help=f"where to listen; 0: any free port ({PORT})",
)
@click.option(
    "--host",
    metavar="ADDRESS",
    default=HOST,
    help=f"another address of this computer, with --token-file and TLS ({HOST})",
)
@click.option(
    "--token-file",
    type=types.FILE,
    metavar="FILE",
    default="",
    help="the token, so that links stay good; written when missing (a new one each time)",
)
@click.option(
    "--tls-cert", type=types.FILE, metavar="FILE", default="", help="certificate for TLS, PEM"
)
@click.option("--tls-key", type=types.FILE, metavar="FILE", default="", help="its key, PEM")
@click.option(
    "--behind-proxy",
    metavar="URL",
    default="",
    help="browsers reach a proxy with TLS here: https://farm.example.org",
)
@click.option(
    "--allow-actions",
    is_flag=True,
    help="pages may drain, reserve and check boards, start and stop runs, and programs send runs "
    "(`farm run --remote`); each is in the fleet log",
)
@click.option(
    "--max-file",
    type=types.BYTES,
    metavar="SIZE",
    default="2G",
    help="with actions, most bytes of a file that `farm run --remote` sends (2G)",
)
@click.option(
    "--max-upload",
    type=types.BYTES,
    metavar="SIZE",
    default="20G",
    help="most bytes of all files of such a run (20G)",
)
@click.option(
    "--max-files",
    type=types.COUNT,
    metavar="N",
    default="200000",
    help="most files of such a run (200000)",
)
@options.fleet
def command(
    port: int,
    host: str,
    token_file: str,
    tls_cert: str,
    tls_key: str,
    behind_proxy: str,
    allow_actions: bool,
    max_file: int,
    max_upload: int,
    max_files: int,
    inventory: str,
    state: str,
    runs: str,
) -> int:
    """Serve until Ctrl-C."""
    from orchestrator.cli.results.serve import serve_project

    return serve_project(
        inventory,
        state,
        runs,
        host=host,
        port=port,
        token_file=token_file,
        certificate=tls_cert,
        key=tls_key,
        behind_proxy=behind_proxy,
        actions=allow_actions,
        limits=(max_file, max_upload, max_files),
    )
