"""Accuracy on minimal pairs by language and phenomenon, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from keyneurons.data.minimal_pairs import MinimalPair
from keyneurons.pipeline.lesions.pairs import PairEffect, Pairs, group_pairs

PAIRS = [
    MinimalPair("a", "b", "case", "deu"),
    MinimalPair("a", "b", "agreement", "deu"),
    MinimalPair("a", "b", "case"),
    MinimalPair("a", "b", "agreement", "deu"),
]


def test_groups_are_counted_beside_their_control_sets():
    intact = [1, 1, 1, 0]
    lesioned = [[1, 0, 1, 0], [0, 1, 1, 1]]
    controls = [[[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 1, 1]], [[0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 1]]]
    correct = np.array([intact, *lesioned, *controls[0], *controls[1]], dtype=bool)
    every, groups = group_pairs(PAIRS, correct, ("NOUN", "VERB"))
    assert [(g.name, g.pairs, g.intact) for g in groups] == [
        ("case", 1, 1.0), ("deu/agreement", 2, 0.5), ("deu/case", 1, 1.0)
    ]  # fmt: skip
    assert (every.pairs, every.intact, every.effects["NOUN"].lesioned) == (4, 0.75, 0.5)
    noun = groups[1].effects["NOUN"]
    assert (noun.lesioned, noun.control_mean) == (0.0, pytest.approx(1 / 3))
    assert noun.control_std == pytest.approx(np.std([0.5, 0, 0.5], ddof=1))
    assert noun.p_value == (1 + 1) / (1 + 3)
    assert groups[1].effects["VERB"].p_value == 1
    assert groups[0].effects["NOUN"].p_value == 1


def test_metrics_are_named_by_mode_family_tag_and_phenomenon():
    every, groups = group_pairs(PAIRS[1:2], np.array([[True], [False], [True], [True]]), ("NOUN",))
    assert Pairs(every, groups, {}).metrics("zero", "random") == {
        "lesion/intact/pair_accuracy": 1.0,
        "lesion/zero/pair_accuracy/NOUN": 0.0,
        "lesion/zero/random/pair_accuracy/NOUN": 1.0,
        "lesion/zero/random/pair_accuracy_p_value/NOUN": pytest.approx(1 / 3),
        "lesion/pairs/intact/deu/agreement": 1.0,
        "lesion/pairs/zero/NOUN/deu/agreement": 0.0,
        "lesion/pairs/zero/random/NOUN/deu/agreement": 1.0,
        "lesion/pairs/zero/random/p_value/NOUN/deu/agreement": pytest.approx(1 / 3),
    }


def test_p_is_valid_when_the_lesion_is_one_of_its_control_sets():
    """Simulated: of exchangeable sets, at most the share alpha has p <= alpha."""
    rng = np.random.default_rng(0)
    accuracies = rng.binomial(30, 0.8, size=(4000, 20)) / 30
    p_values = np.array([PairEffect.of(row[0], row[1:]).p_value for row in accuracies])
    for alpha in (0.05, 0.1, 0.25):
        assert (p_values <= alpha).mean() <= alpha + 0.01
    assert (p_values <= 0.25).mean() > 0.15
