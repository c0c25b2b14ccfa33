"""Words with the measured effects of ablations of candidate neurons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from keyneurons.attribution.ablation import AblationEffect, AblationPath
from keyneurons.attribution.method import Attribution
from keyneurons.attribution.reader import AttributionReader
from keyneurons.pipeline.activations import Activations
from keyneurons.pipeline.scored_words import ScoredWords, activated_words, attributed_words
from keyneurons.records import Labels, Scores, Treebank
from keyneurons.selection.columns import scoring_of
from keyneurons.selection.rules import top_k_neurons


def ablated_words(
    read: AttributionReader,
    method: AblationEffect,
    labels: Labels,
    treebank: Treebank,
    activations: Activations,
    *,
    seed: int,
) -> ScoredWords:
    """A sample of the train words with the effect of every candidate on their prediction.

    Args:
        read: Reader of attributions; the effects are stored in the cache.
        method: Ablation of the candidates of another method.
        labels: The labelled words.
        treebank: All sentences.
        activations: The activations of the treebank, for methods that score activations.
        seed: Seed of the sample.

    Returns:
        The words with the effects; neurons that are not candidates have effect 0.

    Raises:
        ValueError: A tag has too few words, or the other method does not suit them.
    """
    first = method.preselection
    if isinstance(first, Attribution):
        words = attributed_words(replace(read, method=first), labels, treebank, store=True, seed=seed)
        scoring = scoring_of(first.scorer)
    else:
        words, scoring = activated_words(activations, labels, treebank), scoring_of(first)
    source = words.values.source(words.labels, "layer", read.memory_bytes, words.sentences)
    scores = scoring.scores(source, words.tags)
    path = AblationPath(candidates(scores, method.candidates))
    return attributed_words(replace(read, path=path), labels, treebank, store=True, seed=seed)


def candidates(scores: Scores, n: int) -> Mapping[int, tuple[int, ...]]:
    """By layer, the neurons among the n with the largest absolute scores of any tag, ascending."""
    width = scores.neurons_per_layer
    by_layer = scores.values.view(len(scores.values), len(scores.layers), width)
    return {
        layer: tuple(sorted(set(top_k_neurons(by_layer[:, i], n).flatten().tolist())))
        for i, layer in enumerate(scores.layers)
    }
