"""Layout of the chart of one neuron: activations by tag, and the AUROC of each tag."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from keyneurons.analysis.separation import QUANTILES
from keyneurons.pipeline.neuron_profile import NeuronOnDev

ROW, TOP, BOTTOM = 24, 34, 34
LEFT, MIDDLE, RIGHT = (150.0, 560.0), 575.0, (590.0, 900.0)


@dataclass(frozen=True)
class ChartRow:
    """The row of one tag: its centre, quantiles of activations and AUROC, all in pixels."""

    tag: str
    n: int
    y: float
    key: bool
    whiskers: tuple[float, float]
    box: tuple[float, float]
    median: float
    control: tuple[float, float]
    control_median: float
    own: float
    higher: bool


@dataclass(frozen=True)
class Chart:
    """Rows from the highest to the lowest median, and ticks of both axes (position and label)."""

    rows: tuple[ChartRow, ...]
    ticks: tuple[tuple[float, str], ...]
    area_ticks: tuple[tuple[float, str], ...]
    height: int
    centre: float


def chart(profile: NeuronOnDev, names: Sequence[str], counts: Sequence[int], key: Collection[str]) -> Chart:
    """Lay out the chart of a neuron.

    Args:
        profile: The profile of the neuron.
        names: Names of the tags.
        counts: Numbers of dev words by tag.
        key: Tags to highlight: those that the neuron is a key neuron of.

    Returns:
        The layout.
    """
    at = {share: profile.quantiles[:, i] for i, share in enumerate(QUANTILES)}
    low, high = float(at[0.05].min()), float(at[0.95].max())
    margin = 0.03 * (high - low) or 1.0
    low, high = low - margin, high + margin

    def x(value: float) -> float:
        return LEFT[0] + (LEFT[1] - LEFT[0]) * (value - low) / (high - low)

    def area(value: float) -> float:
        return RIGHT[0] + (RIGHT[1] - RIGHT[0]) * (value - 0.5) / 0.5

    s = profile.separation
    order = sorted(range(len(names)), key=lambda tag: (-at[0.5][tag], names[tag]))
    rows = tuple(
        ChartRow(
            names[tag],
            counts[tag],
            TOP + ROW * (place + 0.5),
            names[tag] in key,
            (x(at[0.05][tag]), x(at[0.95][tag])),
            (x(at[0.25][tag]), x(at[0.75][tag])),
            x(at[0.5][tag]),
            (area(s.control_low[tag]), area(s.control_high[tag])),
            area(s.control_median[tag]),
            area(s.either_way[tag]),
            bool(s.auroc[tag] >= 0.5),
        )
        for place, tag in enumerate(order)
    )
    ticks = tuple((x(value), f"{value:.6g}") for value in nice_ticks(low, high))
    areas = tuple((area(value), f"{value:.1f}") for value in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0))
    return Chart(rows, ticks, areas, TOP + ROW * len(rows) + BOTTOM, x(profile.centre))


def nice_ticks(low: float, high: float) -> list[float]:
    """Three to eight ticks between two numbers, at multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(i * step, 12) + 0.0 for i in range(first, last + 1)]
