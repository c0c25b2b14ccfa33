"""Reads typed text: activations of its words, and the tags that probes read from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from keyneurons.explore.loading import LoadedRun
from keyneurons.explore.typed_text import TypedText


@dataclass(frozen=True)
class TagRead:
    """The tag that a probe predicts for a word, and its probability."""

    tag: str
    probability: float


@dataclass(frozen=True)
class ReadText:
    """The words of a typed text with their activations and tags.

    ``activations`` has the layers of the run side by side. ``tags`` has one entry per probe and
    word; None where a word is not read, as first words are at prediction.
    """

    typed: TypedText
    activations: Float[ndarray, "words neurons"]
    tags: Mapping[str, tuple[TagRead | None, ...]]
    is_read: tuple[bool, ...]


def read_text(run: LoadedRun, typed: TypedText) -> ReadText:
    """Read the words of a text as the run has read those of its treebank."""
    n_words = sum(len(sentence.words) for sentence in typed.sentences)
    width = run.sets.neurons_per_layer
    values = torch.empty(n_words, len(run.read.layers) * width)
    for rows, taken in run.read.stream(typed.sentences, "the text"):
        for i, layer in enumerate(run.read.layers):
            values[torch.from_numpy(rows), i * width : (i + 1) * width] = taken[run.read.site][layer].float().cpu()
    first_words = run.read.read_at == "word"
    is_read = tuple(first_words or i > 0 for sentence in typed.sentences for i in range(len(sentence.words)))
    tags = {each.name: _tags(each.probe(values[:, each.probe.columns]), run.tags, is_read) for each in run.probes}
    return ReadText(typed, values.numpy(), tags, is_read)


def _tags(
    logits: Float[Tensor, "words tags"], names: tuple[str, ...], is_read: tuple[bool, ...]
) -> tuple[TagRead | None, ...]:
    best = logits.double().softmax(dim=1).max(dim=1)
    return tuple(
        TagRead(names[tag], probability) if read else None
        for tag, probability, read in zip(best.indices.tolist(), best.values.tolist(), is_read, strict=True)
    )


def column_of(run: LoadedRun, layer: int, neuron: int) -> int:
    """Position of a neuron among the concatenated layers of the run."""
    return run.read.layers.index(layer) * run.sets.neurons_per_layer + neuron


def values_of(text: ReadText, column: int) -> list[float | None]:
    """The activation of one neuron at every word; None where a word is not read."""
    own = text.activations[:, column].astype(np.float64).tolist()
    return [value if read else None for value, read in zip(own, text.is_read, strict=True)]
