"""From activations to key neurons: scores, the permutation null, and the selected sets."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.analysis.resampling import permuted_tags
from keyneurons.memo import Memo, identity_of
from keyneurons.metrics import ONE_RANKING, UNION_SHARE, UNION_SIZE
from keyneurons.pipeline.activations import Activations
from keyneurons.pipeline.controls.control import NotApplicable
from keyneurons.pipeline.given_sets import GivenSets
from keyneurons.pipeline.scored_words import ScoredWords
from keyneurons.progress import stage
from keyneurons.records import Labels, NeuronSets, Permuted, Scores
from keyneurons.selection.columns import scoring_of
from keyneurons.selection.interface import Scoring, Source
from keyneurons.selection.rules import Rule, select
from keyneurons.selection.scorer import NeuronScorer, TagError
from keyneurons.selection.significance import benjamini_hochberg, max_statistic_p_values
from keyneurons.selection.stream import Stream


@dataclass(frozen=True)
class Selection:
    """How key neurons are selected.

    With ``rule.threshold == "permutation"``, the null distribution comes from that many
    ``permutations`` of the tags, seeded by ``seed``; ``permute`` is the unit of permutation.
    ``memory_bytes`` limits the memory of scoring. ``memo`` caches scores for other jobs of the
    process.
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
        """The scorer with the interface that the stages use."""
        return scoring_of(self.scorer)

    def source(self, words: ScoredWords) -> Source:
        """The values of some words as input of the scorer."""
        return words.values.source(words.labels, self.rule.scope, self.memory_bytes, words.sentences)

    def scores(self, source: Source, tags: Int[ndarray, " words"]) -> Scores:
        """Score every neuron; cached if everything that the scores depend on is identifiable."""
        parts = identity_of(self.scorer), source.identity()
        tags_digest = hashlib.blake2b(np.ascontiguousarray(tags).data).hexdigest()
        key = None if None in parts else ("scores", *parts, tags_digest)
        return self.memo.get(key, lambda: self.scoring.scores(source, tags))


@dataclass(frozen=True)
class KeyNeurons:
    """The key neurons of every tag, the scores of all neurons, and the scored words.

    Given sets have no scores.
    """

    words: ScoredWords
    scores: Scores | None
    sets: NeuronSets

    def metrics(self) -> dict[str, float]:
        """Sizes of the sets, and the metrics of the scored words."""
        union = float(len(self.sets.union()))
        return {
            ONE_RANKING: float(self.sets.one_ranking),
            UNION_SIZE: union,
            UNION_SHARE: union / (len(self.sets.layers) * self.sets.neurons_per_layer),
            **{f"selection/size/{tag}": float(len(self.sets.tags[tag])) for tag in self.sets},
            **self.words.metrics(),
        }


def find_key_neurons(selection: Selection | GivenSets, words: ScoredWords) -> KeyNeurons:
    """Score every neuron and select the key neurons of every tag, or take the given sets.

    Args:
        selection: How key neurons are selected, or the given sets.
        words: The words with the values that the scorer uses.

    Returns:
        Scores and sets.

    Raises:
        ValueError: The values or the scores are invalid (the message names tag, layer and neuron),
            or no given set is of a tag of these words.
    """
    if isinstance(selection, GivenSets):
        return KeyNeurons(words, None, selection.of_tags(words.labels.names))
    with naming_tags(words.labels.names):
        scores = selection.scores(selection.source(words), words.tags)
    return KeyNeurons(words, scores, key_neurons_by(scores, selection, words))


def key_neurons_by(scores: Scores, selection: Selection, words: ScoredWords) -> NeuronSets:
    """Select the key neurons of every tag by given scores; see ``find_key_neurons``.

    Raises:
        ValueError: The scores do not support the threshold, or every score is 0.
    """
    p_adjusted = None if scores.p_robust is None else benjamini_hochberg(scores.p_robust)
    names = words.labels.names
    if selection.rule.threshold == "permutation":
        with naming_tags(names):
            null = permutation_null(selection, selection.source(words), words.tags, words.sentences)
        p_adjusted = max_statistic_p_values(scores.values, null)
    sets = select(scores, names, selection.rule, p_adjusted)
    may_be_empty = selection.rule.restricts or selection.scoring.traits.may_be_empty
    if not may_be_empty and not sets.union():
        raise ValueError("every score of every tag is 0: no neuron carries information about any tag")
    return sets


def permutation_null(
    selection: Selection,
    source: Source,
    tags: Int[ndarray, " words"],
    sentence_of_word: Int[ndarray, " words"],
) -> Float[Tensor, "permutations tags"]:
    """The strongest score of every tag under each permutation of the tags.

    The i-th permutation depends on the seed and i alone.
    """

    def tagging(i: int) -> Int[ndarray, " words"]:
        return permuted_tags(tags, sentence_of_word, selection.permute, np.random.default_rng([selection.seed, i]))

    null = []
    with stage("permutations", total=selection.permutations) as progress:
        for maxima in selection.scoring.maxima(source, tagging, selection.permutations):
            null.append(maxima)
            progress.advance()
    return torch.stack(null)


LEAST_WORDS = 2  # of a tag in a selection from some of the words: fewer have no variance


def scorable(
    tags: Int[ndarray, " words"], positions: Int[ndarray, " some"]
) -> tuple[Int[ndarray, " kept"], Int[ndarray, " tags"], Int[ndarray, " kept"]]:
    """The positions of words whose tag has enough of them, these tags, and their new numbers."""
    counts = np.bincount(tags[positions], minlength=int(tags.max(initial=0)) + 1)
    kept = positions[counts[tags[positions]] >= LEAST_WORDS]
    present, renumbered = np.unique(tags[kept], return_inverse=True)
    return kept, present, renumbered


def select_from(
    selection: Selection,
    source: Source,
    names: Sequence[str],
    tags: Int[ndarray, " words"],
    positions: Int[ndarray, " some"],
) -> NeuronSets:
    """Select key neurons from some of the words or with other tags, by the rule without threshold.

    Tags with fewer than 2 words and tags that the scorer rejects are excluded.
    """
    positions, present, renumbered = scorable(tags, positions)
    present_names = [names[tag] for tag in present]
    if len(present_names) < 2:
        return NeuronSets(source.site, source.layers, source.width, {})
    try:
        scores = selection.scores(source.of_words(positions, len(present_names)), renumbered)
    except TagError as error:
        return select_from(selection, source, names, tags, positions[renumbered != error.tag])
    return select(scores, present_names, replace(selection.rule, threshold="none"))


@dataclass(frozen=True)
class Reselection:
    """Selects key neurons again: for other labels of the same words, or for other activations.

    The rule is that of the run without its threshold. A sample of words stays the same; only its
    tags are replaced.
    """

    selection: Selection
    words: ScoredWords
    activations: Activations

    def __call__(self, labels: Labels, activations: Activations) -> NeuronSets:
        """Select by some labels and activations.

        Raises:
            NotApplicable: The method scores a sample or attributions, but the activations are not
                the run's, or nothing is stored.
        """
        words, tags = self.words, labels.splits["train"].tags
        if words.position is not None:
            if activations is not self.activations:
                what = "attributions to the neurons of the model" if words.attributed else "a sample of words"
                raise NotApplicable(f"the method scores {what}")
            words = replace(words, labels=replace(words.labels, names=labels.names))
            tags = tags[words.position]
        else:
            words = replace(words, values=activations, labels=labels)
        source = self.selection.source(words)
        if isinstance(source, Stream):
            raise NotApplicable("the attributions are not stored (activations.store=true)")
        return select_from(self.selection, source, labels.names, tags, np.arange(len(tags)))


@contextmanager
def naming_tags(names: Sequence[str]) -> Generator[None]:
    """Replace the number of a tag in a ``TagError`` by its name.

    Yields:
        Nothing.

    Raises:
        ValueError: The block raised a ``TagError``.
    """
    try:
        yield
    except TagError as error:
        raise ValueError(f"tag {names[error.tag]} {error.fault}") from error
