"""From activations to key neurons: scores, the null that they must beat, and the sets."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor
from tqdm import tqdm

from keyneurons.analysis.resampling import permuted_tags
from keyneurons.memo import Memo, identity_of
from keyneurons.metrics import UNION_SHARE, UNION_SIZE
from keyneurons.pipeline.scored_words import ScoredWords
from keyneurons.records import NeuronSets, Permuted, Scores
from keyneurons.selection.columns import scoring_of
from keyneurons.selection.interface import Scoring, Source
from keyneurons.selection.rules import Rule, select
from keyneurons.selection.scorer import NeuronScorer, TagError
from keyneurons.selection.significance import benjamini_hochberg, max_statistic_p_values


@dataclass(frozen=True)
class Selection:
    """How key neurons are selected.

    ``permutations`` of whole ``sentences``, or of the ``words`` within each sentence, make the null of
    ``rule.threshold == "permutation"``; ``seed`` is theirs; ``memory_bytes`` is what scoring may take at a time;
    ``memo`` keeps scores that other jobs of the process ask for again.
    """

    scorer: NeuronScorer
    rule: Rule
    permutations: int
    permute: Permuted
    memory_bytes: int
    seed: int
    memo: Memo = field(default_factory=Memo, repr=False, compare=False)

    @property
    def scoring(self) -> Scoring:
        """The scorer as the stages use it."""
        return scoring_of(self.scorer)

    def source(self, words: ScoredWords) -> Source:
        """Words as the scorer needs them."""
        return words.values.source(words.labels, self.rule.scope, self.memory_bytes)

    def scores(self, source: Source, tags: Int[ndarray, " words"]) -> Scores:
        """Score every neuron; remembered where all that the scores depend on can be told."""
        parts = identity_of(self.scorer), source.identity()
        of_tags = hashlib.blake2b(np.ascontiguousarray(tags).data).hexdigest()
        key = None if None in parts else ("scores", *parts, of_tags)
        return self.memo.get(key, lambda: self.scoring.scores(source, tags))


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
        scores = selection.scores(selection.source(words), words.tags)
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
        with naming_tags(names):
            null = permutation_null(selection, selection.source(words), words.tags, words.sentences)
        p_adjusted = max_statistic_p_values(scores.values, null)
    sets = select(scores, names, selection.rule, p_adjusted)
    may_be_empty = selection.rule.restricts or selection.scoring.traits.may_be_empty
    if not may_be_empty and not sets.union():
        raise ValueError("every score of every tag is 0: the neurons read say nothing about any tag")
    return sets


def permutation_null(
    selection: Selection,
    source: Source,
    tags: Int[ndarray, " words"],
    sentence_of_word: Int[ndarray, " words"],
) -> Float[Tensor, "permutations tags"]:
    """The strongest score of every tag under each permutation of the tags; the i-th depends on the seed and i alone."""
    within = selection.permute == "words"

    def tagging(i: int) -> Int[ndarray, " words"]:
        return permuted_tags(tags, sentence_of_word, within, np.random.default_rng([selection.seed, i]))

    maxima = selection.scoring.maxima(source, tagging, selection.permutations)
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
