"""Counts forward passes."""

from __future__ import annotations

import pytest

from keyneurons.activations.capture import Capture


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """A list that every forward pass extends by its number of sentences."""
    seen: list[int] = []
    run = Capture.__call__

    def counted(self, inputs, take):
        seen.append(len(inputs["input_ids"]))
        return run(self, inputs, take)

    monkeypatch.setattr(Capture, "__call__", counted)
    return seen
