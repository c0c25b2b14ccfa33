"""Key neurons over steps, against counts by hand and a simulation of random sets."""

from __future__ import annotations

import numpy as np
import pytest

from keyneurons.analysis.trajectory import Life, trajectory
from keyneurons.records import KeyNeuron, NeuronSets

WIDTH = 10


def sets(layers: tuple[int, ...] = (3,), **tags: list[int | tuple[int, int]]) -> NeuronSets:
    places = {tag: [(layers[0], n) if isinstance(n, int) else n for n in own] for tag, own in tags.items()}
    return NeuronSets(
        "mlp", layers, WIDTH, {tag: tuple(KeyNeuron(*p, 1.0) for p in own) for tag, own in places.items()}
    )


STEPS = [sets(NOUN=[1, 2], X=[]), sets(NOUN=[2, 3], X=[4]), sets(NOUN=[1, 3], X=[]), sets(NOUN=[3, 5], X=[])]


def test_a_trajectory_counted_by_hand() -> None:
    found = trajectory(STEPS)
    assert found.tags == ("NOUN", "X")
    assert found.size.tolist() == [[2, 2, 2, 2], [0, 1, 0, 0]]
    assert found.lives == (
        Life("NOUN", 3, 1, born=0, settled=None, died=3, n_steps=2),
        Life("NOUN", 3, 2, born=0, settled=None, died=2, n_steps=2),
        Life("NOUN", 3, 3, born=1, settled=1, died=None, n_steps=3),
        Life("NOUN", 3, 5, born=3, settled=3, died=None, n_steps=1),
        Life("X", 3, 4, born=1, settled=None, died=2, n_steps=1),
    )
    assert found.turnover.born.tolist() == [[2, 1, 0, 1], [0, 1, 0, 0]]
    assert found.turnover.died.tolist() == [[0, 0, 1, 1], [0, 0, 1, 0]]
    assert found.settled("NOUN") == [1, 3]
    assert found.settled("X") == []
    np.testing.assert_allclose(found.with_last.jaccard[0], [0, 1 / 3, 1 / 3, np.nan])
    np.testing.assert_allclose(found.with_previous.jaccard, [[np.nan, 1 / 3, 1 / 3, 1 / 3], [np.nan, 0, 0, np.nan]])
    # two of ten twice: 1 shared with probability 16/45 (Jaccard 1/3), 2 shared with 1/45
    np.testing.assert_allclose(found.with_last.expected[0, :3], [16 / 45 / 3 + 1 / 45] * 3)
    # in no earlier set: .8 for each
    np.testing.assert_allclose(found.turnover.born_expected[0], [2, 2 * 0.8, 2 * 0.8**2, 2 * 0.8**3])
    np.testing.assert_allclose(found.turnover.died_expected[0], [0, 2 * 0.8**3, 2 * 0.8**2, 2 * 0.8])


def test_births_minus_deaths_are_the_last_set() -> None:
    draw = np.random.default_rng(0)
    steps = [
        sets((0, 1), A=[(int(i) // WIDTH, int(i) % WIDTH) for i in draw.choice(20, draw.integers(0, 8), replace=False)])
        for _ in range(6)
    ]
    turnover = trajectory(steps).turnover
    assert turnover.born.sum() - turnover.died.sum() == len(steps[-1].tags["A"])
    assert turnover.born_expected.sum() - turnover.died_expected.sum() == pytest.approx(len(steps[-1].tags["A"]))


def test_expectations_are_those_of_random_sets() -> None:
    """200 draws of sets with 3, 2 and 4 neurons of layer 0 and 1, 4 and 2 of layer 1."""
    draw, sizes, found = np.random.default_rng(1), [(3, 1), (2, 4), (4, 2)], []
    for _ in range(200):
        own = [[(layer, int(n)) for layer in (0, 1) for n in draw.choice(WIDTH, of[layer], False)] for of in sizes]
        found.append(trajectory([sets((0, 1), A=places) for places in own]).turnover)
    for name in ("born", "died"):
        values = np.array([getattr(each, name)[0] for each in found])
        error = values.std(axis=0) / np.sqrt(len(values)) + 1e-9
        assert (abs(values.mean(axis=0) - getattr(found[0], f"{name}_expected")[0]) < 4 * error).all()


def test_renaming_neurons_and_reversing_steps() -> None:
    """Reversed steps exchange births and deaths, one step apart."""
    forward, backward = trajectory(STEPS).turnover, trajectory(STEPS[::-1]).turnover
    np.testing.assert_array_equal(forward.died[:, 1:], backward.born[:, :0:-1])
    np.testing.assert_allclose(forward.died_expected[:, 1:], backward.born_expected[:, :0:-1])


def test_what_is_no_trajectory() -> None:
    with pytest.raises(ValueError, match="at least 2 steps, got 1"):
        trajectory(STEPS[:1])
    with pytest.raises(ValueError, match="no common tag"):
        trajectory([sets(A=[1]), sets(B=[1])])
    with pytest.raises(ValueError, match="share site, layers and width"):
        trajectory([sets(A=[1]), sets((4,), A=[1])])
