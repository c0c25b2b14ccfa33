"""Correction of p-values for the number of tests (false discovery rate)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def adjusted_p_values(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Adjust p-values for their number by Benjamini & Hochberg 1995 (JRSS B 57:289).

    Rejecting all tests whose adjusted p-value is at most q controls the false discovery rate at q
    under independence and positive dependence.

    Returns:
        The adjusted p-values by the same keys.

    Raises:
        ValueError: If a p-value is not in 0..1.
    """
    from scipy.stats import false_discovery_control

    if not p_values:
        return {}
    if not all(0 <= p <= 1 for p in p_values.values()):
        raise ValueError(f"p-values must lie in 0..1, got {min(p_values.values())}..{max(p_values.values())}")
    adjusted = false_discovery_control(list(p_values.values()))
    return dict(zip(p_values, adjusted.tolist(), strict=True))
