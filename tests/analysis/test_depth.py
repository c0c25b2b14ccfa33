"""Peaks over relative depth, by hand."""

from __future__ import annotations

import pytest

from keyneurons.analysis.depth import Peak, peak, relative_depth


def test_relative_depth() -> None:
    assert [relative_depth(layer, 4) for layer in range(4)] == [0, 0.25, 0.5, 0.75]
    assert relative_depth(15, 30) == relative_depth(9, 18)
    for layer in (-1, 4):
        with pytest.raises(ValueError, match=rf"layer must lie in 0\.\.3, got {layer}"):
            relative_depth(layer, 4)


def test_a_peak_with_the_depths_that_reach_its_interval() -> None:
    values = {0.0: 0.5, 0.25: 0.78, 0.5: 0.8, 0.75: 0.7, 0.9: 0.79}
    assert peak(values) == Peak(0.5, 0.8, 0.5, 0.5)
    assert peak(values, {0.5: 0.78, 0.0: 0.1}) == Peak(0.5, 0.8, 0.25, 0.9)
    assert peak(values, {0.5: 0.785}) == Peak(0.5, 0.8, 0.5, 0.9)


def test_of_equal_values_the_shallowest_is_the_peak() -> None:
    assert peak({0.6: 1.0, 0.2: 1.0, 0.4: 0.5}) == Peak(0.2, 1.0, 0.2, 0.6)
    with pytest.raises(ValueError, match="at least 1 value"):
        peak({})
