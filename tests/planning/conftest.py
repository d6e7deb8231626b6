"""What the tests of plans share."""

from __future__ import annotations

import pytest

from orchestrator.preflight import model


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model is brought into its normal form by two images: rendering them takes longest."""
    monkeypatch.setattr(model, "IMAGES", 2)
