"""F1 of single tags and its intervals, against scikit-learn on the resampled words."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from keyneurons.analysis.sentence_bootstrap import SentenceBootstrap
from keyneurons.pipeline.per_tag import tag_probe

SENTENCES = np.repeat(np.arange(12), 6)


def test_f1_of_many_probes_equals_scikit_learn():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 2, 72) == 1
    predicted = rng.integers(0, 2, (4, 72)) == 1
    predicted[0], predicted[1] = true, False
    own = tag_probe(predicted, true, SentenceBootstrap.of(SENTENCES, 20, 0))
    each = [f1_score(true, row, zero_division=0) for row in predicted]
    assert [own.f1, *own.random_f1] == pytest.approx(each)
    assert each[:2] == [1.0, 0.0]
    nothing = np.zeros((2, 72), dtype=bool)
    assert tag_probe(nothing, nothing[0], SentenceBootstrap.of(SENTENCES, 20, 0)).f1 == 0


def test_the_interval_is_that_of_f1_on_the_resampled_words():
    rng = np.random.default_rng(1)
    true = rng.random(72) < 0.3
    predicted = np.stack([true ^ (rng.random(72) < share) for share in (0.05, 0.3, 0.35, 0.4)])
    boot = SentenceBootstrap.of(SENTENCES, 60, 0)
    own = tag_probe(predicted, true, boot)
    differences = []
    for weights, chosen in zip(boot.weights.astype(int), boot.draw(3), strict=True):
        words = np.repeat(np.arange(72), weights[SENTENCES])
        key, random = (
            f1_score(true[words], row[words], zero_division=0) for row in (predicted[0], predicted[1 + chosen])
        )
        differences.append(key - random)
    assert own.difference.value == pytest.approx(own.f1 - own.random_f1.mean())
    assert (own.difference.low, own.difference.high) == pytest.approx(tuple(np.quantile(differences, [0.025, 0.975])))
    assert own.difference.p_value == 0.25  # best of 4 sets
