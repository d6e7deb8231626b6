"""The audit's findings in words, for console, table and messages."""

from __future__ import annotations

from orchestrator.reporting.text import plain
from orchestrator.results import AuditExample, AuditImage


def example_words(example: AuditExample) -> str:
    """`probe a/1.png = gallery a/0.png`; `~` and the bits for two that are near-identical."""
    words = [_named(image) for image in example.images]
    if example.bits is None:
        return plain(" = ".join(words))
    return plain(f"{' ~ '.join(words)} ({example.bits} of 256 bits differ)")


def _named(image: AuditImage) -> str:
    return f"{image.role} {image.name}"
