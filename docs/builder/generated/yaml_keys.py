"""The YAML files' keys, from the models that read the files."""

from __future__ import annotations

from docs.builder.generated.markdown import objects
from orchestrator.specs.kinds import load_kinds
from orchestrator.specs.schema import FILES

TITLES = {
    "matrix": "matrix.yaml",
    "inventory": "device_inventory.yaml",
    "model": "models/NAME.yaml",
    "kind": "kinds/NAME.yaml",
}


def page(name: str) -> str:
    """Every key of one kind of file: what it takes and what holds without it."""
    title = TITLES[name]
    text = (
        f"# Keys of {title}\n"
        "Generated from the models that read the file. [Settings](settings.md) says what each key "
        "changes and when it is refused. Where a list is taken, a single value may stand; an "
        f"unknown key is an error. `farm schema {name}` prints this for an editor.\n\n"
    )
    if name == "inventory":
        text += f"`kind` is one of {', '.join(f'`{kind}`' for kind in sorted(load_kinds()))}.\n\n"
    return text + objects(FILES[name].model_json_schema(), title, "key")
