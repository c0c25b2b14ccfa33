"""Cached attributions of the words of a split."""

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
from keyneurons.arrays import Stored, read_array
from keyneurons.attribution.method import Attribution
from keyneurons.attribution.passes import Attributor
from keyneurons.attribution.paths import AttributionPath
from keyneurons.attribution.targets import Targets, balanced, predictable
from keyneurons.digests import json_digest
from keyneurons.records import LabelledWords, Sentence

ROWS_AT_ONCE = 1024  # rows of activations per block of a mean


@dataclass(frozen=True)
class AttributionReader:
    """Attributes the words of a split to the neurons of one site and caches the results.

    ``read`` reads activations of the same model at the positions that predict words;
    ``memory_bytes`` is the budget of a batch. Arrays are float32, one per layer: the attributions
    of all its neurons and, for integrals, a last column with the change of the target to which they
    sum. ``path`` replaces the method's own path.
    """

    read: ActivationReader
    method: Attribution
    memory_bytes: int
    path: AttributionPath | None = None

    def __post_init__(self) -> None:
        if self.read.read_at != "prediction":
            raise ValueError(f"attribution needs read_at=prediction, got read_at={self.read.read_at}")

    @property
    def along(self) -> AttributionPath:
        """The path along which attributions are computed."""
        return self.method.along if self.path is None else self.path

    def sample(
        self, sentences: Sequence[Sentence], words: LabelledWords, names: Sequence[str], seed: int
    ) -> tuple[Targets, Int[ndarray, " sampled"]]:
        """Draw the words to attribute.

        Args:
            sentences: sentences of a split.
            words: its labelled words.
            names: the tag names.
            seed: seed of the draw.

        Returns:
            The targets, and their positions among the labelled words.

        Raises:
            ValueError: If a tag has too few words.
        """
        candidates = predictable(self.encoded(sentences), words.rows, self.method.min_context)
        if self.method.min_probability:
            likely = self._probabilities(sentences, candidates) >= self.method.min_probability
            candidates = candidates.of(np.flatnonzero(likely))
        position = np.searchsorted(words.rows, candidates.rows)
        drawn = balanced(words.tags[position], names, self.method.words_per_tag, seed)
        return candidates.of(drawn), position[drawn]

    def __call__(
        self, sentences: Sequence[Sentence], targets: Targets, words: LabelledWords
    ) -> Mapping[int, Float[ndarray, "words columns"]]:
        """Attributions of the targets, in order.

        Args:
            sentences: sentences of a split.
            targets: words to attribute.
            words: all labelled words of the split, for the mean baseline.

        Returns:
            By layer, a memory-mapped array ``[words, neurons]``; ``[words, neurons + 1]`` for
            integrals.

        Raises:
            ValueError: If an attribution is not finite, or the memory is too small.
            OSError: If the disk is full.
        """
        entry, site, layers = (
            self.read.store.entry(self.key(sentences, targets, words)),
            self.read.site,
            self.read.layers,
        )
        with entry.lock():
            arrays = entry.load_all(site, layers)
            if missing := [layer for layer in layers if arrays[layer] is None]:
                # layers that are scaled jointly are attributed jointly
                missing_layers = list(layers) if self.along.joint else missing
                encoded, baseline = self.encoded(sentences), self._baseline(sentences, words)
                plan = self._attributor.plan(encoded, targets, missing_layers)
                shape = (len(targets.rows), self._columns)
                with entry.write(site, missing_layers, shape, "float32", asdict(plan)) as partial:
                    passes = self._attributor.passes(
                        encoded, targets, missing_layers, baseline, plan, partial.steps_done
                    )
                    for rows, values in passes:
                        partial.put(rows, {layer: value.numpy() for layer, value in values.items()})
                arrays |= entry.load_all(site, missing_layers)
        if any(array is None for array in arrays.values()):
            raise OSError(f"{entry.folder} was damaged while it was read; run again")
        return {layer: array for layer, array in arrays.items() if array is not None}

    def stream(
        self, sentences: Sequence[Sentence], targets: Targets, words: LabelledWords
    ) -> Iterator[tuple[Int[ndarray, " some"], Mapping[int, Float[Tensor, "some columns"]]]]:
        """Attribute the targets in one pass without caching; arguments as in the call.

        Yields:
            Positions of some targets, and by layer their attributions in the format of the cache.
        """
        encoded, baseline = self.encoded(sentences), self._baseline(sentences, words)
        plan = self._attributor.plan(encoded, targets, self.read.layers)
        yield from self._attributor.passes(encoded, targets, self.read.layers, baseline, plan)

    def key(self, sentences: Sequence[Sentence], targets: Targets, words: LabelledWords) -> dict[str, Any]:
        """Cache key: everything that determines the attributions except site and layer.

        The key of a joint path includes all its layers.
        """
        along = self.along
        facts = {"path": type(along).__name__, **asdict(along)}  # type: ignore[call-overload]
        facts |= {"target": self.method.target, "baseline": self.method.baseline, "words": _digest(targets)}
        if self.method.baseline == "mean":
            facts["mean_of"] = json_digest([self.read.dtype, words.rows.tolist()])
        if along.joint:
            facts["layers"] = list(self.read.layers)
        return {**self.read.key(sentences), "dtype": "float32", "attribution": facts}

    @property
    def _attributor(self) -> Attributor:
        return Attributor(self.read.model, self.read.site, self.along, self.method.target, self.memory_bytes)

    @property
    def _columns(self) -> int:
        return self.read.model.width(self.read.site) + (self.method.completeness() is not None)

    def encoded(self, sentences: Sequence[Sentence]) -> list[Encoded]:
        """Token ids of every sentence, and the first and last token of every word."""
        return replace(self.read, read_at="word", pooling="mean").encode(sentences)

    def _baseline(self, sentences: Sequence[Sentence], words: LabelledWords) -> dict[int, Float[Tensor, " neurons"]]:
        if self.method.baseline == "zero":
            return {layer: torch.zeros(self.read.model.width(self.read.site)) for layer in self.read.layers}
        arrays = self.read(sentences, "train")
        return {layer: torch.from_numpy(_mean(array, words.rows)).float() for layer, array in arrays.items()}

    def _probabilities(self, sentences: Sequence[Sentence], words: Targets) -> Float[ndarray, " words"]:
        """Probabilities that the model assigns to words, cached."""
        entry = self.read.store.entry({
            **self.read.key(sentences),
            "dtype": "float32",
            "probability_of": _digest(words),
        })
        with entry.lock():
            if (cached := entry.load("probability", 0)) is None:
                values = self._attributor.probabilities(self.encoded(sentences), words, self.read.batch_tokens)
                with entry.write("probability", [0], (len(values), 1), "float32", "whole") as partial:
                    partial.put(np.arange(len(values)), {0: values[:, None]})
                cached = values[:, None]
        return np.asarray(cached)[:, 0]


def _digest(words: Targets) -> str:
    return json_digest([words.rows.tolist(), words.position.tolist(), words.token.tolist()])


def _mean(array: Float[Stored, "all_words neurons"], rows: Int[ndarray, " words"]) -> Float[ndarray, " neurons"]:
    """Mean of every neuron over some words, summed in float64."""
    total = np.zeros(array.shape[1])
    for first in range(0, len(rows), ROWS_AT_ONCE):
        total += read_array(array, rows[first : first + ROWS_AT_ONCE]).sum(axis=0, dtype=np.float64)
    return total / len(rows)
