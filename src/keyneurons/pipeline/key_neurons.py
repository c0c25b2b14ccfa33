"""From activations to key neurons: scores, the null that they must beat, and the sets."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor
from tqdm import tqdm

from keyneurons.analysis.resampling import permuted_tags
from keyneurons.metrics import UNION_SHARE, UNION_SIZE
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.scored_words import ScoredWords
from keyneurons.records import NeuronSets, Permuted, Scores
from keyneurons.selection.rules import Rule, select
from keyneurons.selection.scorer import NeuronScorer, TagError
from keyneurons.selection.scoring import Driver
from keyneurons.selection.significance import benjamini_hochberg, max_statistic_p_values


@dataclass(frozen=True)
class Selection:
    """How key neurons are selected.

    ``permutations`` of whole ``sentences``, or of the ``words`` within each sentence, make the null of
    ``rule.threshold == "permutation"``; ``seed`` is theirs; ``memory_bytes`` is what scoring may take at a time.
    """

    scorer: NeuronScorer
    rule: Rule
    permutations: int
    permute: Permuted
    memory_bytes: int
    seed: int


@dataclass(frozen=True)
class KeyNeurons:
    """The key neurons of every tag, the scores of all neurons, and the words that they were scored on."""

    words: ScoredWords
    scores: Scores
    sets: NeuronSets

    def metrics(self) -> dict[str, float]:
        """How large the sets are, and what there is to say about the words."""
        union = float(len(self.sets.union()))
        return {
            UNION_SIZE: union,
            UNION_SHARE: union / (len(self.sets.layers) * self.sets.neurons_per_layer),
            **{f"selection/size/{tag}": float(len(self.sets.tags[tag])) for tag in self.sets},
            **self.words.metrics(),
        }


def find_key_neurons(selection: Selection, words: ScoredWords) -> KeyNeurons:
    """Score every neuron and select the key neurons of every tag.

    Args:
        selection: how.
        words: what the scorer sees.

    Returns:
        Scores and sets.

    Raises:
        ValueError: the values or the scores do not allow it; tag, layer and neuron are named.
    """
    with naming_tags(words.labels.names):
        scores = words.values.scores(selection.scorer, words.labels, selection.rule.scope, selection.memory_bytes)
    return KeyNeurons(words, scores, key_neurons_by(scores, selection, words))


def key_neurons_by(scores: Scores, selection: Selection, words: ScoredWords) -> NeuronSets:
    """Select the key neurons of every tag by scores that are there already; the rest as in ``find_key_neurons``.

    Raises:
        ValueError: a threshold cannot be had, or every score is 0.
    """
    p_values = scores.p_values if scores.p_bounds is None else scores.p_bounds
    p_adjusted = None if p_values is None else benjamini_hochberg(p_values)
    names = words.labels.names
    if selection.rule.threshold == "permutation":
        if not isinstance(words.values, StoredActivations):
            raise ValueError("threshold.kind=permutation needs stored activations")
        driver = words.values.driver(words.labels, selection.rule.scope, selection.memory_bytes)
        with naming_tags(names):
            null = permutation_null(selection, driver, words.labels.splits["train"].tags, words.sentences)
        p_adjusted = max_statistic_p_values(scores.values, null)
    sets = select(scores, names, selection.rule, p_adjusted)
    filtered = selection.rule.restricts or getattr(selection.scorer, "min_cramers_v", 0.0) > 0
    if not filtered and not sets.union():
        raise ValueError("every score of every tag is 0: the neurons read say nothing about any tag")
    return sets


def permutation_null(
    selection: Selection,
    driver: Driver,
    tags: Int[ndarray, " words"],
    sentence_of_word: Int[ndarray, " words"],
) -> Float[Tensor, "permutations tags"]:
    """The strongest score of every tag under each permutation of the tags; the i-th depends on the seed and i alone."""
    within = selection.permute == "words"

    def tagging(i: int) -> Int[ndarray, " words"]:
        return permuted_tags(tags, sentence_of_word, within, np.random.default_rng([selection.seed, i]))

    maxima = driver.maxima(selection.scorer, tagging, selection.permutations)
    bar = tqdm(maxima, desc="permutations", total=selection.permutations, leave=False, disable=None)
    return torch.stack(list(bar))


@contextmanager
def naming_tags(names: Sequence[str]) -> Generator[None]:
    """Give the name of a tag that is refused.

    Yields:
        Nothing.

    Raises:
        ValueError: If one is.
    """
    try:
        yield
    except TagError as error:
        raise ValueError(f"tag {names[error.tag]} {error.fault}") from error
