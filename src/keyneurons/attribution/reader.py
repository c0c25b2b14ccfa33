"""Attributions of the words of a split: from the cache where they are, else from the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.alignment import Encoded
from keyneurons.activations.reader import ActivationReader
from keyneurons.attribution.method import Attribution
from keyneurons.attribution.passes import Attributor
from keyneurons.attribution.targets import Targets, balanced, predictable
from keyneurons.digests import json_digest
from keyneurons.records import LabelledWords, Sentence

ROWS_AT_ONCE = 1024  # of activations, for a mean


@dataclass(frozen=True)
class AttributionReader:
    """Attributes the words of a split to the neurons of one site, and keeps what it finds.

    ``read`` reads the activations of the same model where words are predicted; ``memory_bytes`` is what a batch may
    take. Arrays are float32, one a layer: the attributions of all its neurons and, where they are integrals, in a last
    column the change of the target that they sum to.
    """

    read: ActivationReader
    method: Attribution
    memory_bytes: int

    def __post_init__(self) -> None:
        if self.read.read_at != "prediction":
            raise ValueError(f"attribution is to predictions, got read_at={self.read.read_at}")

    def sample(
        self, sentences: Sequence[Sentence], words: LabelledWords, names: Sequence[str], seed: int
    ) -> tuple[Targets, Int[ndarray, " sampled"]]:
        """Draw the words to attribute.

        Args:
            sentences: those of a split.
            words: its labelled words.
            names: the tags.
            seed: of the draw.

        Returns:
            The targets, and their positions among the labelled words.

        Raises:
            ValueError: a tag has too few words.
        """
        found = predictable(self.encoded(sentences), words.rows, self.method.min_context)
        if self.method.min_probability:
            likely = self._probabilities(sentences, found) >= self.method.min_probability
            found = found.of(np.flatnonzero(likely))
        position = np.searchsorted(words.rows, found.rows)
        drawn = balanced(words.tags[position], names, self.method.words_per_tag, seed)
        return found.of(drawn), position[drawn]

    def __call__(
        self, sentences: Sequence[Sentence], targets: Targets, words: LabelledWords
    ) -> Mapping[int, Float[ndarray, "words columns"]]:
        """Attributions of the targets, in order.

        Args:
            sentences: those of a split.
            targets: words to attribute.
            words: all labelled words of the split, over which the mean of a baseline is taken.

        Returns:
            By layer a memory-mapped array ``[words, neurons]``, or ``[words, neurons + 1]`` of integrals.

        Raises:
            ValueError: an attribution is not finite, or the memory does not suffice.
            OSError: the disk is full.
        """
        entry, site, layers = (
            self.read.store.entry(self.key(sentences, targets, words)),
            self.read.site,
            self.read.layers,
        )
        with entry.lock():
            arrays = entry.load_all(site, layers)
            if missing := [layer for layer in layers if arrays[layer] is None]:
                # what is scaled jointly is attributed jointly
                wanted = list(layers) if self.method.along.joint else missing
                encoded, baseline = self.encoded(sentences), self._baseline(sentences, words)
                plan = self._attributor.plan(encoded, targets, wanted)
                shape = (len(targets.rows), self._columns)
                with entry.write(site, wanted, shape, "float32", asdict(plan)) as partial:
                    passes = self._attributor.passes(encoded, targets, wanted, baseline, plan, partial.steps_done)
                    for rows, values in passes:
                        partial.put(rows, {layer: value.numpy() for layer, value in values.items()})
                arrays |= entry.load_all(site, wanted)
        if any(array is None for array in arrays.values()):
            raise OSError(f"{entry.folder} was damaged while it was read; run again")
        return {layer: array for layer, array in arrays.items() if array is not None}

    def stream(
        self, sentences: Sequence[Sentence], targets: Targets, words: LabelledWords
    ) -> Iterator[tuple[Int[ndarray, " some"], Mapping[int, Float[Tensor, "some columns"]]]]:
        """One pass over the targets that keeps nothing; the arguments are those of the call.

        Yields:
            Positions of some targets, and by layer their attributions as they would be stored.
        """
        encoded, baseline = self.encoded(sentences), self._baseline(sentences, words)
        plan = self._attributor.plan(encoded, targets, self.read.layers)
        yield from self._attributor.passes(encoded, targets, self.read.layers, baseline, plan)

    def key(self, sentences: Sequence[Sentence], targets: Targets, words: LabelledWords) -> dict[str, Any]:
        """All that the attributions depend on, site and layer apart; of a joint path all its layers."""
        along = self.method.along
        facts = {"path": type(along).__name__, **asdict(along)}  # type: ignore[call-overload]
        facts |= {"target": self.method.target, "baseline": self.method.baseline, "words": _digest(targets)}
        if self.method.baseline == "mean":
            facts["mean_of"] = json_digest([self.read.dtype, words.rows.tolist()])
        if along.joint:
            facts["layers"] = list(self.read.layers)
        return {**self.read.key(sentences), "dtype": "float32", "attribution": facts}

    @property
    def _attributor(self) -> Attributor:
        return Attributor(self.read.model, self.read.site, self.method.along, self.method.target, self.memory_bytes)

    @property
    def _columns(self) -> int:
        return self.read.model.width(self.read.site) + (self.method.along.copies > 1)

    def encoded(self, sentences: Sequence[Sentence]) -> list[Encoded]:
        """Token ids of every sentence, and the first and the last token of every word."""
        return replace(self.read, read_at="word", pooling="mean").encode(sentences)

    def _baseline(self, sentences: Sequence[Sentence], words: LabelledWords) -> dict[int, Float[Tensor, " neurons"]]:
        if self.method.baseline == "zero":
            return {layer: torch.zeros(self.read.model.width(self.read.site)) for layer in self.read.layers}
        arrays = self.read(sentences, "train")
        return {layer: torch.from_numpy(_mean(array, words.rows)).float() for layer, array in arrays.items()}

    def _probabilities(self, sentences: Sequence[Sentence], words: Targets) -> Float[ndarray, " words"]:
        """Probability that the model gives to words; from the cache where it is."""
        entry = self.read.store.entry({
            **self.read.key(sentences),
            "dtype": "float32",
            "probability_of": _digest(words),
        })
        with entry.lock():
            if (known := entry.load("probability", 0)) is None:
                found = self._attributor.probabilities(self.encoded(sentences), words, self.read.batch_tokens)
                with entry.write("probability", [0], (len(found), 1), "float32", "whole") as partial:
                    partial.put(np.arange(len(found)), {0: found[:, None]})
                known = found[:, None]
        return np.asarray(known)[:, 0]


def _digest(words: Targets) -> str:
    return json_digest([words.rows.tolist(), words.position.tolist(), words.token.tolist()])


def _mean(array: Float[ndarray, "all_words neurons"], rows: Int[ndarray, " words"]) -> Float[ndarray, " neurons"]:
    """Mean of every neuron over some words, summed in float64."""
    total = np.zeros(array.shape[1])
    for first in range(0, len(rows), ROWS_AT_ONCE):
        total += array[rows[first : first + ROWS_AT_ONCE]].sum(axis=0, dtype=np.float64)
    return total / len(rows)
