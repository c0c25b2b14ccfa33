"""The taggings of the train words that a run selects neurons for, known before anything is read."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from keyneurons.analysis.resampling import split_halves
from keyneurons.data.word_features import sentence_of_rows
from keyneurons.pipeline.controls.control import Control, Relabelling
from keyneurons.pipeline.key_neurons import scorable
from keyneurons.pipeline.unseen_words import UnseenWords, labels_apart
from keyneurons.records import Labels, Treebank
from keyneurons.selection.tagged_words import TaggedWords


def planned_taggings(
    labels: Labels,
    treebank: Treebank,
    controls: Iterable[Control],
    *,
    halves: int,
    unseen: UnseenWords | None,
    seed: int,
) -> tuple[TaggedWords, ...]:
    """The taggings of a run: its tags, halves of the words, and the labels of controls.

    Args:
        labels: The labelled words.
        treebank: All sentences.
        controls: The controls, some of which select neurons again for other labels.
        halves: Number of halvings of the train sentences.
        unseen: The split by word types, if the run measures it.
        seed: Seed of the run.

    Returns:
        The taggings; a tagging that a run needs in other cases costs a pass of its own.
    """
    relabelling = [control for control in controls if isinstance(control, Relabelling)]
    every = [labels]
    if unseen is not None:
        every.append(labels_apart(unseen, labels, seed))
    taggings = []
    for own in every:
        rows, tags = own.splits["train"].rows, own.splits["train"].tags
        taggings.append(TaggedWords(rows, tags, len(own.names)))
        for other in (other for control in relabelling for other in control.relabelled(own, seed)):
            taggings.append(_part(rows, other.splits["train"].tags, np.arange(len(rows))))
    if halves:
        rows, tags = labels.splits["train"].rows, labels.splits["train"].tags
        sentences = sentence_of_rows(treebank.splits["train"], rows)
        for pair in split_halves(sentences, halves, seed):
            taggings += [_part(rows, tags, positions) for positions in pair]
    return tuple(taggings)


def _part(rows: Int[ndarray, " words"], tags: Int[ndarray, " words"], positions: Int[ndarray, " some"]) -> TaggedWords:
    """Some of the words, as ``select_from`` scores them."""
    chosen, present, renumbered = scorable(tags, positions)
    return TaggedWords(rows[chosen], renumbered, len(present), whole=len(chosen) == len(rows))
