"""A valid file of key neurons."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def whole() -> dict[str, Any]:
    """Two tags in layers 1 and 3 of width 48, as a run writes them."""
    neuron = {"p_value": 0.25, "p_adjusted": 1.0, "effect": None}
    return {
        "format": 1,
        "model": {"id": "m", "revision": "sha256-1", "architecture": "a", "tokenizer": "t", "random_weights": None},
        "dataset": {"id": "d", "digest": "0"},
        "tag_column": "upos",
        "site": "mlp",
        "layers": [1, 3],
        "neurons_per_layer": 48,
        "read_at": "word",
        "method": "correlation",
        "top_k": 2,
        "scope": "layer",
        "sign": "both",
        "threshold": "none",
        "alpha": 0.05,
        "mass": None,
        "seed": 0,
        "tags": {
            "NOUN": [
                {"layer": 1, "neuron": 0, "score": 0.5, **neuron},
                {"layer": 3, "neuron": 47, "score": -2, **neuron},
            ],
            "VERB": [{"layer": 3, "neuron": 5, "score": 0.1, **neuron}],
        },
    }
