"""Changes single values in the text of a YAML file; every other character and line stays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode


def rewritten(text: str, key: str, new: Callable[[str], str | None]) -> str:
    """The text with other values below a key of the file.

    Args:
        text: a YAML document that has been read and found sound.
        key: of the whole file.
        new: the new value of a scalar below it, None to leave it.
    """
    root = YAML(typ="safe", pure=True).compose(text)
    assert isinstance(root, MappingNode)
    spans: dict[int, tuple[int, str]] = {}
    for name, value in root.value:
        for scalar in _scalars(value) if name.value == key else ():
            changed = new(str(scalar.value))
            if changed is not None:
                quoted = json.dumps(changed, ensure_ascii=False)
                spans[scalar.start_mark.index] = (scalar.end_mark.index, quoted)
    for start in sorted(spans, reverse=True):
        end, quoted = spans[start]
        text = text[:start] + quoted + text[end:]
    return text


def _scalars(node: Node) -> Iterator[ScalarNode]:
    if isinstance(node, ScalarNode):
        yield node
    elif isinstance(node, SequenceNode):
        for each in node.value:
            yield from _scalars(each)
    elif isinstance(node, MappingNode):
        for _, each in node.value:
            yield from _scalars(each)
