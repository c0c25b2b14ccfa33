"""Thresholds hold their level on text-like data without effects, and detect planted neurons."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom

from keyneurons.analysis.resampling import permuted_tags
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.methods.f_test import FTest
from keyneurons.selection.methods.mutual_information import MutualInformation
from keyneurons.selection.methods.welch_t import WelchT
from keyneurons.selection.scorer import NeuronScorer
from keyneurons.selection.scoring import Driver
from keyneurons.selection.significance import benjamini_hochberg, max_statistic_p_values, survivors

DATA_SETS, ALPHA, PERMUTATIONS = 200, 0.05, 99  # the minimum p is 1/100, which is below .05 over four tags
FEWER = 40
FREQUENCIES = np.array([0.4, 0.38, 0.2, 0.02])
NEURONS, HEAVY, SAME_AGAIN = 50, 5, 0.2
RARE, MARKING = 3, 20  # the rarest tag, and the neuron that marks it when planted

Text = tuple[np.ndarray, np.ndarray, np.ndarray]


def text(seed: int) -> Text:
    """Activations with sentence effects and a tenth of neurons with outliers; Markov-chain tags."""
    rng = np.random.default_rng(seed)
    sentences = np.repeat(np.arange(120), rng.integers(5, 16, 120))
    n_words = len(sentences)
    values = rng.normal(size=(n_words, NEURONS)) + 0.2 * rng.normal(size=(120, NEURONS))[sentences]
    values[:, :HEAVY] **= 3
    tags = rng.choice(len(FREQUENCIES), size=n_words, p=FREQUENCIES)
    for word in range(1, n_words):
        if sentences[word] == sentences[word - 1] and rng.random() < SAME_AGAIN:
            tags[word] = tags[word - 1]
    return values, tags, sentences


def clustered(seed: int) -> Text:
    """Tags and activations with large sentence effects, of intraclass correlations .25 and .5."""
    values, _, sentences = text(seed)
    rng = np.random.default_rng([seed, 1])
    values += rng.normal(size=(120, NEURONS))[sentences]
    shares = rng.dirichlet(3 * FREQUENCIES, size=120)[sentences]
    tags = (rng.random((len(sentences), 1)) > shares.cumsum(axis=1)).sum(axis=1).clip(max=RARE)
    tags[:4] = range(4)
    return values, tags, sentences


def planted(seed: int) -> Text:
    values, tags, sentences = text(seed)
    values[tags == RARE, MARKING] += 2.5
    return values, tags, sentences


def driver_of(values: np.ndarray, sentences: np.ndarray | None = None) -> Driver:
    return Driver({3: values}, np.arange(len(values)), len(FREQUENCIES), "mlp", "layer", sentences=sentences)


def significant(scorer: NeuronScorer, data: Text, threshold: str, seed: int) -> torch.Tensor:
    """Mask of significant neurons by fdr or a unit of permutation, as in the pipeline."""
    values, tags, sentences = data
    driver = driver_of(values, sentences)
    scores = driver.scores(scorer, tags)
    if threshold == "fdr":
        return survivors(benjamini_hochberg(scores.p_robust), ALPHA)

    def tagging(i: int) -> np.ndarray:
        return permuted_tags(tags, sentences, threshold, np.random.default_rng([seed, i]))

    null = torch.stack(list(driver.maxima(scorer, tagging, PERMUTATIONS)))
    return survivors(max_statistic_p_values(scores.values, null), ALPHA)


def n_data_sets(threshold: str) -> int:
    """Fewer data sets where each of them takes many permutations."""
    return DATA_SETS if threshold == "fdr" else FEWER


CASES = [
    (Correlation(), "fdr"),
    (WelchT(), "fdr"),
    (FTest(), "fdr"),
    (MutualInformation(bins=4), "fdr"),  # about five words of the rarest tag per bin, as the test requires
    (Correlation(), "like_length"),
    (Correlation(), "within_sentence"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("scorer", "threshold"), CASES, ids=str)
def test_nothing_is_selected_without_effects(scorer, threshold):
    n = n_data_sets(threshold)
    any_selected = sum(bool(significant(scorer, text(seed), threshold, seed).any()) for seed in range(n))
    assert any_selected <= binom.ppf(0.999, n, ALPHA)  # exceeded once in a thousand runs


@pytest.mark.slow
@pytest.mark.parametrize(("scorer", "threshold"), CASES, ids=str)
def test_nothing_is_selected_where_tags_and_activations_cluster(scorer, threshold):
    any_selected = sum(bool(significant(scorer, clustered(seed), threshold, seed).any()) for seed in range(FEWER))
    assert any_selected <= binom.ppf(0.999, FEWER, ALPHA)


@pytest.mark.slow
def test_words_as_independent_would_not_hold_the_level():
    """Motivates permutations that keep the tags of a sentence together."""
    rejected = sum(bool(significant(Correlation(), clustered(seed), "words", seed).any()) for seed in range(15))
    assert rejected > 7


@pytest.mark.slow
def test_position_is_no_evidence_for_a_tag_by_like_length_alone():
    """Neurons that encode the first word, and a tag that is frequent there."""
    rejected = dict.fromkeys(("fdr", "words", "within_sentence", "like_length"), 0)
    for seed in range(30):
        values, tags, sentences = text(seed)
        is_first = np.r_[True, np.diff(sentences) > 0]
        values[is_first] += 2
        tags[is_first & (np.random.default_rng(seed).random(len(tags)) < 0.8)] = 0
        for threshold in rejected if seed < 10 else ("like_length",):
            rejected[threshold] += bool(significant(Correlation(), (values, tags, sentences), threshold, seed).any())
    assert rejected.pop("like_length") <= binom.ppf(0.999, 30, ALPHA)
    assert min(rejected.values()) > 8  # of 10


@pytest.mark.slow
@pytest.mark.parametrize(("scorer", "threshold"), CASES, ids=str)
def test_planted_neurons_are_selected(scorer, threshold):
    kept = [significant(scorer, planted(seed), threshold, seed) for seed in range(n_data_sets(threshold) // 2)]
    assert sum(bool(result[RARE, MARKING]) for result in kept) >= 0.95 * len(kept)
    others = sum(int(result.any(dim=0).sum()) - bool(result[:, MARKING].any()) for result in kept)
    assert others <= 0.5 * len(kept)


@pytest.mark.slow
def test_textbook_p_values_would_not_hold_the_level():
    """Motivates the bound: outliers in rare tags."""
    rejected = 0
    for seed in range(DATA_SETS):
        values, tags, _ = text(seed)
        p_values = driver_of(values**3).scores(Correlation(), tags).p_values
        rejected += bool(survivors(benjamini_hochberg(p_values), ALPHA).any())
    assert rejected > 2 * binom.ppf(0.999, DATA_SETS, ALPHA)
