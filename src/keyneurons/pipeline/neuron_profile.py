"""Profile of one neuron on the dev words: extremes, word types, activations by tag."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from keyneurons.analysis.separation import Separation, separation, spread
from keyneurons.arrays import Stored, read_array
from keyneurons.data.word_features import sentence_of_rows
from keyneurons.records import LabelledWords, Labels, Sentence, Treebank

SENTENCES, SAMPLED = 12, 8
TYPES, SINGLE_WORDS = 12, 10
CONTROLS = 100
FULL_COLOUR = 0.99  # quantile of the distances from the median that has full colour


@dataclass(frozen=True)
class DevText:
    """The dev sentences with their labelled words."""

    sentences: tuple[Sentence, ...]
    names: tuple[str, ...]
    words: LabelledWords

    @classmethod
    def of(cls, treebank: Treebank, labels: Labels) -> DevText:
        """The dev sentences of a treebank."""
        return cls(treebank.splits["dev"], labels.names, labels.splits["dev"])

    def sentence_numbers(self) -> Int[ndarray, " words"]:
        """The index of the sentence of every labelled word."""
        return sentence_of_rows(self.sentences, self.words.rows)

    def sample(self, seed: int) -> tuple[int, ...]:
        """Random sentences with a labelled word, drawn independently of activations."""
        eligible = np.unique(self.sentence_numbers())
        drawn = np.random.default_rng([seed, len(eligible)]).choice(
            eligible, min(SAMPLED, len(eligible)), replace=False
        )
        return tuple(sorted(drawn.tolist()))


@dataclass(frozen=True)
class WordType:
    """A lower-cased form with one tag, its count and its mean activation."""

    form: str
    tag: str
    count: int
    mean: float


@dataclass(frozen=True)
class NeuronOnDev:
    """The activations of one neuron on the dev words.

    ``values`` are the activations of all words, labelled or not. The colour scale is centred at
    ``centre``, the median of the labelled words, and reaches full colour at a distance of
    ``reach``, the 99 % quantile of their distances (the maximum, if that quantile is 0). ``lowest``
    and ``highest`` are the extremes of the labelled words. ``sentences`` contain the words farthest
    from the centre, the farthest first. ``top_types`` and ``bottom_types`` occur at least twice.
    ``top_words`` and ``bottom_words`` are positions among the labelled words. ``quantiles`` by tag
    are defined in ``analysis.separation``.
    """

    layer: int
    neuron: int
    values: Float[ndarray, " all_words"]
    centre: float
    reach: float
    lowest: float
    highest: float
    sentences: tuple[int, ...]
    top_types: tuple[WordType, ...]
    bottom_types: tuple[WordType, ...]
    top_words: tuple[int, ...]
    bottom_words: tuple[int, ...]
    quantiles: Float[ndarray, "tags quantiles"]
    separation: Separation


def neuron_on_dev(
    text: DevText, activations: Float[Stored, "all_words neurons"], layer: int, neuron: int, seed: int
) -> NeuronOnDev:
    """Profile one neuron of a layer.

    Args:
        text: The dev sentences.
        activations: The activations of the whole layer on all their words.
        layer: Number of the layer.
        neuron: Number of the neuron in the layer.
        seed: Seed of the draw of other neurons for comparison.

    Returns:
        The profile.

    Raises:
        ValueError: The layer has no such neuron, or an activation is not finite.
    """
    if not 0 <= neuron < activations.shape[1]:
        raise ValueError(f"the neurons of layer {layer} are 0..{activations.shape[1] - 1}, got {neuron}")
    rows, tags, n_tags = text.words.rows, text.words.tags, len(text.names)
    every_word = np.arange(activations.shape[0])
    everything = read_array(activations, every_word, slice(neuron, neuron + 1))[:, 0].astype(np.float64)
    values = everything[rows]
    others = read_array(activations, rows, _others(activations.shape[1], layer, neuron, seed)).astype(np.float64)
    separated = separation(values, others, tags, n_tags)
    centre = float(np.median(values))
    far = np.abs(values - centre)
    types = _word_types(text, values)
    order = np.argsort(values, kind="stable").tolist()
    return NeuronOnDev(
        layer,
        neuron,
        everything,
        centre,
        float(np.quantile(far, FULL_COLOUR)) or float(far.max()),
        float(values.min()),
        float(values.max()),
        _farthest(text.sentence_numbers(), far),
        tuple(types[: min(TYPES, (len(types) + 1) // 2)]),
        tuple(types[::-1][: min(TYPES, len(types) // 2)]),
        tuple(order[::-1][:SINGLE_WORDS]),
        tuple(order[:SINGLE_WORDS]),
        spread(values, tags, n_tags),
        separated,
    )


def coloured_words(text: DevText, *, first_words: bool) -> Bool[ndarray, " all_words"]:
    """Mask of the words with an activation: words read at prediction exclude first words."""
    return np.array([first_words or i > 0 for s in text.sentences for i in range(len(s.words))], dtype=bool)


def _others(width: int, layer: int, neuron: int, seed: int) -> Int[ndarray, " controls"]:
    others = np.delete(np.arange(width), neuron)
    drawn = np.random.default_rng([seed, layer, neuron]).choice(others, min(CONTROLS, width - 1), replace=False)
    ascending: ndarray = np.sort(drawn)
    return ascending


def _farthest(sentence: Int[ndarray, " words"], far: Float[ndarray, " words"]) -> tuple[int, ...]:
    """The sentences with the words farthest from the median, each once."""
    by_distance = sentence[np.argsort(-far, kind="stable")]
    return tuple(list(dict.fromkeys(by_distance.tolist()))[:SENTENCES])


def _word_types(text: DevText, values: Float[ndarray, " words"]) -> list[WordType]:
    """Types with at least two occurrences, the highest mean first; ties by form and tag."""
    values_by_type: dict[tuple[str, int], list[float]] = {}
    for form, tag, value in zip(text.words.types, text.words.tags.tolist(), values.tolist(), strict=True):
        values_by_type.setdefault((form, tag), []).append(value)
    types = [
        WordType(form, text.names[tag], len(own), float(np.mean(own)))
        for (form, tag), own in values_by_type.items()
        if len(own) > 1
    ]
    return sorted(types, key=lambda each: (-each.mean, each.form, each.tag))
