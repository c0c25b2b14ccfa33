"""Correction of p-values for several tests."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

K = TypeVar("K", bound=Hashable)


def adjusted_p_values(p_values: Mapping[K, float]) -> dict[K, float]:
    """p-values by key, adjusted by Benjamini & Hochberg 1995 for the number of tests."""
    from scipy.stats import false_discovery_control

    if not p_values:
        return {}
    adjusted = false_discovery_control(list(p_values.values()))
    return dict(zip(p_values, adjusted.tolist(), strict=True))
