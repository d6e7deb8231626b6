"""Pages that are generated from the code, so that they say what it does: site path, text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from docs.builder.generated import cli, files_of_runs, hardware, python_api, yaml_keys

PAGES: Mapping[str, Callable[[], str]] = {
    "reference/command-line.md": cli.page,
    "reference/matrix-keys.md": partial(yaml_keys.page, "matrix"),
    "reference/inventory-keys.md": partial(yaml_keys.page, "inventory"),
    "reference/model-keys.md": partial(yaml_keys.page, "model"),
    "reference/kind-keys.md": partial(yaml_keys.page, "kind"),
    "reference/results-json.md": files_of_runs.results_page,
    "reference/events.md": files_of_runs.events_page,
    "reference/python.md": python_api.farm_page,
    "reference/python-scoring.md": partial(
        python_api.module_page, "orchestrator.scoring", "1:N scoring"
    ),
    "reference/python-detection.md": partial(
        python_api.module_page, "orchestrator.detection", "detection"
    ),
    "explanation/never-on-hardware.md": hardware.page,
}
