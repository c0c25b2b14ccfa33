"""Stability of the sets over resamples, by the run's rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planting import NAMES, SENTENCES, planted

from keyneurons.pipeline.key_neurons import Selection
from keyneurons.pipeline.reliability import Checks, resampled_stability
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.methods.l1_probe import L1Probe
from keyneurons.selection.methods.welch_t import WelchT
from keyneurons.selection.rules import Rule

ONE = Selection(Correlation(), Rule(1, "model"), 99, "like_length", 2**24, 0)
ALL = Checks(halves=4, bootstraps=4, confounds=False, redundancy=False)


def stability_of(strength: float, selection: Selection = ONE, checks: Checks = ALL):
    activations, labels = planted(strength)
    driver = activations.source(labels, selection.rule.scope, selection.memory_bytes)
    return resampled_stability(checks, selection, driver, NAMES, labels.splits["train"].tags, SENTENCES)


@pytest.mark.parametrize("scorer", [Correlation(), WelchT(), L1Probe(1)], ids=repr)
def test_planted_neurons_come_back_and_noise_does_not(scorer):
    selection = replace(ONE, scorer=scorer)
    found, noise = stability_of(3, selection), stability_of(0, selection)
    for kind in ("halves", "bootstrap"):
        assert found[kind].jaccard == dict.fromkeys(NAMES, 1.0)
        assert noise[kind].mean() < 0.7
        assert found[kind].expected == pytest.approx(dict.fromkeys(NAMES, 1 / 30))
    assert noise["halves"].mean() < 0.3


def test_only_what_is_asked_for_is_measured():
    assert set(stability_of(3, checks=replace(ALL, bootstraps=0))) == {"halves"}
    assert set(stability_of(3, checks=replace(ALL, halves=0))) == {"bootstrap"}
    assert not replace(ALL, halves=0, bootstraps=1).resamples


def test_the_threshold_is_left_out_and_the_sign_kept():
    strict = replace(ONE, rule=Rule(1, "model", threshold="permutation"))
    assert stability_of(3, strict) == stability_of(3)
    assert stability_of(0, replace(ONE, rule=Rule(1, "model", sign="negative"))) != stability_of(0)


def test_a_tag_too_rare_for_a_resample_is_left_out_there():
    activations, labels = planted(3)
    tags = np.where(np.arange(600) < 3, 2, labels.splits["train"].tags % 2)  # VERB in the first sentence only
    driver = activations.source(labels, "model", 2**24)
    found = resampled_stability(ALL, ONE, driver, NAMES, tags, SENTENCES)
    assert set(found["halves"].jaccard) == {"ADJ", "NOUN"}


def test_a_tag_that_the_scorer_refuses_in_a_resample_is_left_out_there():
    selection = replace(ONE, scorer=L1Probe(4, C=0.005))
    activations, labels = planted(0)
    driver = activations.source(labels, "model", 2**24)
    with pytest.raises(ValueError, match="non-zero weights"):
        driver.scores(selection.scorer, labels.splits["train"].tags)
    assert stability_of(0, selection) == {}
