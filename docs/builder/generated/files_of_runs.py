"""results.json and events.jsonl, from the models that write them."""

from __future__ import annotations

from typing import get_args

from docs.builder.generated.markdown import Schema, objects
from orchestrator import events
from orchestrator.results import RESULTS_VERSION, CellResult


def results_page() -> str:
    """What results.json holds."""
    schema = CellResult.model_json_schema(mode="serialization")
    return (
        "# results.json\n"
        "Generated from the models that write it. The document has `version` "
        f"(now {RESULTS_VERSION}), `farm`, `run`, `matrix`, `matrix_sha256`, `complete`, "
        "`outcome`, `missing` (rows without a result and why) and `cells`: a list of "
        "[CellResult](#cellresult). Rates are fractions between 0 and 1, times milliseconds. "
        "A field that a version adds is ignored by older readers.\n\n"
        + objects(schema, "CellResult", "field")
    )


def events_page() -> str:
    """What each line of events.jsonl may be."""
    union = get_args(get_args(events.Event)[0])
    text = (
        "# Events\n"
        "Generated from the models that write them. Each line of `events.jsonl`, and of "
        "`farm run --json`, is one of these objects; `event` says which. Every one has `v` "
        f"(now {events.EVENTS_VERSION}) and `at` (Unix seconds). A line that a reader does not "
        "know is to be skipped.\n\n"
    )
    shared: dict[str, Schema] = {}
    for each in union:
        schema = each.model_json_schema(mode="serialization")
        shared.update(schema.pop("$defs", {}))
        for name in ("v", "at"):
            schema["properties"].pop(name)
        text += objects(schema, each.model_fields["event"].default, "field") + "\n"
    return text + "\n".join(objects(part, name, "field") for name, part in shared.items())
