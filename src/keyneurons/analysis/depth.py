"""Where in a network a measure peaks, by relative depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Peak:
    """The depth of the largest value, and the depths that are not distinguishable from it.

    ``shallowest`` and ``deepest`` are the ends of the depths whose value reaches the lower end of
    the interval of the peak; without an interval they are the depth itself.
    """

    depth: float
    value: float
    shallowest: float
    deepest: float


def relative_depth(layer: int, n_layers: int) -> float:
    """The share of the blocks below a layer: 0 for the first block, (n - 1) / n for the last.

    Raises:
        ValueError: If the model has no such layer.
    """
    if not 0 <= layer < n_layers:
        raise ValueError(f"layer must lie in 0..{n_layers - 1}, got {layer}")
    return layer / n_layers


def peak(values: Mapping[float, float], low: Mapping[float, float] | None = None) -> Peak:
    """The largest of the values by depth; of equal ones, the shallowest.

    Args:
        values: The value at every depth.
        low: The lower end of the interval at every depth, if known.

    Raises:
        ValueError: If there are no values.
    """
    if not values:
        raise ValueError("a peak needs at least 1 value, got 0")
    depth = min(values, key=lambda at: (-values[at], at))
    least = (low or {}).get(depth, values[depth])
    near = [at for at, value in values.items() if value >= least or at == depth]
    return Peak(depth, values[depth], min(near), max(near))
