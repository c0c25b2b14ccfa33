"""The sequential p-value is valid, and equals the plain one where no test ends early."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from keyneurons.analysis.controls import empirical_p_value
from keyneurons.analysis.sequential import Stopping

NULL = np.random.default_rng(0).normal(size=(40_000, 21))  # the observed value first


def drawn_one_by_one(stopping: Stopping, observed: float, controls: np.ndarray) -> int:
    """The number of controls that a test takes."""
    return next(n for n in range(len(controls) + 1) if stopping.is_over(observed, controls[:n]))


@pytest.mark.parametrize(("exceedances", "most"), [(1, 5), (2, 5), (3, 6), (9, 5)])
def test_every_order_of_the_values_is_counted(exceedances, most):
    """Of all orders of exchangeable values, p is at most x in a share x, for every possible p."""
    stopping = Stopping(exceedances, most)
    found = []
    for order in itertools.permutations(range(1 + most)):
        observed, *controls = (float(value) for value in order)
        n = drawn_one_by_one(stopping, observed, np.array(controls))
        found.append(Fraction(stopping.p_value(observed, np.array(controls[:n]))).limit_denominator(1000))
    for x in set(found):
        assert Fraction(sum(p <= x for p in found), len(found)) == x
    assert float(min(found)) == pytest.approx(stopping.least_p_value)


def test_its_level_holds_in_simulated_draws():
    stopping = Stopping(3, 20)
    p_values = np.array([stopping.p_value(row[0], row[1:]) for row in NULL])
    for level in (0.01, 0.05, 0.1, 0.2, 0.5):
        share, error = (p_values <= level).mean(), np.sqrt(level * (1 - level) / len(NULL))
        assert share <= level + 4 * error
    tied = np.round(NULL)  # ties count as exceedances
    p_values = np.array([stopping.p_value(row[0], row[1:]) for row in tied])
    assert (p_values <= 0.05).mean() <= 0.05


def test_the_answer_at_5_percent_is_that_of_all_20_controls_from_fewer_than_half():
    stopping, numbers = Stopping(3, 20), []
    for row in NULL[:5000]:
        numbers.append(n := drawn_one_by_one(stopping, row[0], row[1:]))
        plain = empirical_p_value(row[0], row[1:])
        assert (stopping.p_value(row[0], row[1 : 1 + n]) <= 0.05) == (plain <= 0.05)
    # (3 controls, then 3/n of the tests draw the n-th)
    assert np.mean(numbers) == pytest.approx(3 + sum(3 / n for n in range(4, 21)), abs=0.3)


def test_controls_after_the_last_exceedance_do_not_count():
    controls = np.array([2.0, 0, 2, 0, 0, 2])
    for n in (3, 4, 6):
        assert Stopping(2, 9).p_value(1.0, controls[:n]) == 2 / 3
    assert Stopping(4, 6).p_value(1.0, controls) == empirical_p_value(1.0, controls) == 4 / 7


def test_an_unfinished_test_has_no_p_value():
    with pytest.raises(ValueError, match="ends with 2 exceedances or 9 controls, got 1 and 3"):
        Stopping(2, 9).p_value(1.0, np.array([0.0, 2, 0]))
    with pytest.raises(ValueError, match="ends with 2 exceedances or 2 controls, got 1 and 3"):
        Stopping(2, 2).p_value(1.0, np.array([0.0, 2, 0]))
    with pytest.raises(ValueError, match="exceedances and most must be at least 1, got 0 and 9"):
        Stopping(0, 9)
    with pytest.raises(ValueError, match="finite values"):
        Stopping(1, 2).p_value(np.nan, np.zeros(2))
