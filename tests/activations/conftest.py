"""Counts forward passes."""

from __future__ import annotations

import pytest

from keyneurons.activations.capture import Capture


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """Grows by the number of sentences with every forward pass."""
    seen: list[int] = []
    run = Capture.__call__

    def counted(self, inputs, take):
        seen.append(len(inputs["input_ids"]))
        return run(self, inputs, take)

    monkeypatch.setattr(Capture, "__call__", counted)
    return seen
