"""The model's name, which stands in every table of several models."""

from __future__ import annotations

from orchestrator.columns.base import Column, Part

COLUMN = Column(
    parts=(Part("Model", lambda result, _: result.model, names=True),),
    needed=lambda results: len({result.model for result in results}) > 1,
)
