"""`farm explain CELL`: which layer loses the accuracy, and what keeping it float gives back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from orchestrator.diagnosis.explain import Effect, Explanation
    from orchestrator.planning.cells import Cell
    from orchestrator.preflight.planner import Plan
    from orchestrator.request import Request


@dataclass(frozen=True)
class ToExplain:
    """What `farm explain` was told.

    Attributes:
        cell: the row.
        run: explain it as this run made it; None for the matrix as it is now.
        images: how many probe images the layers are compared on.
        limit: how many gallery identities the effect is measured on.
    """

    cell: str
    matrix: str
    inventory: str | None
    run: str | None
    images: int
    limit: int
    effect: bool
    plot: str | None
    as_json: bool
    state: str
    runs: str


def explain(arguments: ToExplain) -> int:
    """Explain a row."""
    from orchestrator.cli.run.predict import shown_on
    from orchestrator.diagnosis.explain import explain_cell
    from orchestrator.execution.local_backend import host_plan

    plot = Path(arguments.plot) if arguments.plot else None
    if plot is not None:
        from orchestrator.reporting.html.layers import FORMATS

        if plot.suffix.lower() not in FORMATS:
            raise UserError(f"--plot {plot}: a plot is written as {' or '.join(FORMATS)}")
    plan = host_plan(_request(arguments))
    cell = _cell(plan, arguments.cell)
    from rich.console import Console

    console = Console(highlight=False, stderr=arguments.as_json)
    with shown_on(console) as emit:
        found = explain_cell(plan, cell, arguments.images, arguments.effect, emit)
    if plot is None and not arguments.as_json:
        plot = Path(f"explain-{cell.name.rstrip('*').replace('/', '-')}.svg")
    if plot is not None:
        _draw(plot, found)
    if arguments.run:
        from orchestrator.reporting.analysis.history import find_run
        from orchestrator.reporting.html.explained import keep

        keep(find_run(Path(arguments.runs), arguments.run), _plain(found))
    if arguments.as_json:
        print(json.dumps(_plain(found), indent=1))
        return 0
    _show(console, found)
    console.print(f"\n{plot}", style="dim")
    return 0


def _request(arguments: ToExplain) -> Request:
    from orchestrator.request import Request, find_inventory
    from orchestrator.running import request_of

    if arguments.run:
        return replace(request_of(arguments.runs, arguments.run), only=(), limit=arguments.limit)
    return Request(
        matrix=arguments.matrix,
        inventory=find_inventory(arguments.matrix, arguments.inventory),
        state=arguments.state,
        runs=arguments.runs,
        limit=arguments.limit,
    )


def _cell(plan: Plan, name: str) -> Cell:
    from orchestrator.planning.cells import only

    found = only(plan.cells, (name,), plan.request.matrix, what="")
    encoders = {cell.probe.name for cell in found}
    if len(encoders) > 1:
        raise UserError(
            f"{name!r} means several rows",
            f"name one: {', '.join(dict.fromkeys(cell.name for cell in found))}",
        )
    return found[0]


def layers_table(found: Explanation, width: int) -> Table:
    """The layers for a terminal of this width; the cosines go first, then the operator."""
    from rich.text import Text

    from orchestrator.reporting.tables.fitting import Column, fitted

    columns = (
        Column("Layer"),
        Column("Operator", drop=2),
        Column("own", drop=1, right=True),
        Column("channels", right=True),
        Column("own cosine", drop=4, right=True),
        Column("reached", right=True),
        Column("reached cosine", drop=3, right=True),
    )
    rows: list[list[str | Text]] = []
    for layer in found.report.layers:
        bad = found.is_bad and found.matters is not False and layer.name == found.named.name
        style = "red" if bad else ""
        texts = (
            layer.name,
            layer.operator,
            f"{layer.own_db:.1f}",
            f"{layer.own_channel_db:.1f}",
            f"{layer.own_cosine:.5f}",
            f"{layer.reached_db:.1f}",
            f"{layer.reached_cosine:.5f}",
        )
        rows.append([Text(text, style) for text in texts])
    return fitted(columns, rows, width)


def _show(console: Console, found: Explanation) -> None:
    console.print(layers_table(found, console.width))
    console.print()
    console.print(
        f"{found.cell}: {found.scheme}, executed by {found.executed_by}, against float32 on "
        f"{found.report.images} probe images. Signal to quantization noise in dB; own: given "
        "float32 inputs; channels: mean of the channels' own; reached: with every error before.",
        style="dim",
    )
    console.print(f"\n{_verdict(found)}", style="bold")
    if found.effect is not None:
        console.print(_effect(found.effect))


def _verdict(found: Explanation) -> str:
    name, usual = found.named.name, found.report.usual_db
    figures = f"{found.named.own_channel_db:.1f} dB where the median layer has {usual:.1f} dB"
    if found.is_bad and found.matters is None:
        return (
            f"First noisy layer: {name} ({found.named.operator}): {figures}; its effect on Rank-1 "
            "was not measured."
        )
    if found.is_bad and found.matters:
        return f"First bad layer: {name} ({found.named.operator}): {figures}."
    if found.is_bad:
        return (
            f"No layer is known to cost accuracy. The first noisy one is {name} "
            f"({found.named.operator}): {figures}; keeping it in float32 changes Rank-1 by no "
            "significant amount."
        )
    return f"No layer is far worse than the others. The worst is {name}: {figures}."


def _effect(effect: Effect) -> str:
    return (
        f"With {effect.layer} kept in float32, Rank-1 goes from {100 * effect.quantized:.2f} to "
        f"{100 * effect.kept:.2f} % (float32: {100 * effect.float32:.2f} %): {effect.gained} "
        f"probes gained, {effect.lost} lost, p = {effect.p:.2g} (McNemar); "
        f"{effect.mated:,} mated probes, {effect.gallery:,} enrolled."
    )


def _draw(path: Path, found: Explanation) -> None:
    from orchestrator.reporting.html.layers import draw_layers

    title = f"{found.cell}: {found.scheme}, executed by {found.executed_by}"
    draw_layers(path, title, found.report.layers, found.named.name, found.report.usual_db)


def _plain(found: Explanation) -> dict[str, Any]:
    return {
        "cell": found.cell,
        "executed_by": found.executed_by,
        "scheme": found.scheme,
        "images": found.report.images,
        "layers": [asdict(layer) for layer in found.report.layers],
        "usual_channel_db": found.report.usual_db,
        "first_bad": found.named.name if found.is_bad and found.matters else None,
        "first_noisy": found.named.name if found.is_bad else None,
        "worst": found.report.worst.name,
        "effect": asdict(found.effect) if found.effect else None,
    }
