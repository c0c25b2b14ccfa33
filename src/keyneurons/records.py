"""Records that stages exchange; their only logic is validation of their own shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.choices import SPLITS as SPLITS
from keyneurons.choices import Permuted as Permuted
from keyneurons.choices import Scope as Scope
from keyneurons.choices import Sign as Sign
from keyneurons.choices import Site as Site
from keyneurons.choices import Split as Split
from keyneurons.choices import ThresholdKind as ThresholdKind


@dataclass(frozen=True, slots=True)
class Word:
    """A UD syntactic word, spelled by the characters ``text[start:end]`` of its sentence.

    ``number`` is its position in the sentence, from 1; ``head`` that of its head, 0 for the root.
    """

    form: str
    start: int
    end: int
    upos: str | None
    xpos: str | None
    feats: Mapping[str, str] = field(default_factory=dict)
    number: int = 0
    head: int | None = None
    deprel: str | None = None


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence: its original text and its words in order."""

    id: str
    text: str
    words: tuple[Word, ...]


@dataclass(frozen=True)
class Treebank:
    """Tagged sentences, split by sentence.

    ``shared_spans`` counts words of multi-word ranges whose forms do not spell the surface, so that
    they share its span. ``duplicates_dropped`` counts, by split, sentences dropped because an
    earlier split has the same text. ``unreadable_dropped`` counts words dropped because the
    tokenizer has no token for them. ``pooled`` names the released files of each treebank
    that lacks one, by its id; they were split by sentence.
    """

    id: str
    splits: Mapping[Split, tuple[Sentence, ...]]
    shared_spans: int = 0
    duplicates_dropped: Mapping[Split, int] = field(default_factory=dict)
    unreadable_dropped: int = 0
    pooled: Mapping[str, tuple[Split, ...]] = field(default_factory=dict)

    def n_words(self, split: Split) -> int:
        """Number of words in a split."""
        return sum(len(sentence.words) for sentence in self.splits[split])


@dataclass(frozen=True)
class LabelledWords:
    """The words of one split that have a selected tag.

    ``rows`` are positions among all words of the split in dataset order (the rows of an activation
    array), ``tags`` are indices into the tag names, ``forms`` are the words as written.
    """

    rows: Int[ndarray, " words"]
    tags: Int[ndarray, " words"]
    forms: tuple[str, ...]

    @cached_property
    def types(self) -> tuple[str, ...]:
        """The word types: the forms in lower case."""
        return tuple(form.lower() for form in self.forms)

    def of(self, chosen: Bool[ndarray, " words"]) -> LabelledWords:
        """The subset of the words that a mask selects."""
        return LabelledWords(self.rows[chosen], self.tags[chosen], tuple(np.array(self.forms, dtype=object)[chosen]))

    def __post_init__(self) -> None:
        if not len(self.rows) == len(self.tags) == len(self.forms):
            raise ValueError(f"got {len(self.rows)} rows, {len(self.tags)} tags and {len(self.forms)} forms")


@dataclass(frozen=True)
class Labels:
    """One tag column of a treebank: tag names in alphabetical order and labelled words by split.

    ``left_out`` maps each tag with too few training words to the number of its training words.
    """

    column: str
    names: tuple[str, ...]
    splits: Mapping[Split, LabelledWords]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def counts(self, split: Split) -> Int[ndarray, " tags"]:
        """Number of words of each tag in one split."""
        return np.bincount(self.splits[split].tags, minlength=len(self.names))


@dataclass(frozen=True)
class Scores:
    """Scores of all neurons of one site, layers concatenated in the order of ``layers``.

    ``values`` is ``[tags, layers x neurons_per_layer]``. The other tables have the same shape, or
    are None if the method does not provide them: ``p_values`` of the method's own test;
    ``p_robust``, p-values for thresholds, which allow for outliers and for clustering by sentence;
    ``effects``, sizes of the tested effects, such as Cramer's V.
    """

    site: Site
    layers: tuple[int, ...]
    neurons_per_layer: int
    values: Float[Tensor, "tags neurons"]
    p_values: Float[Tensor, "tags neurons"] | None = None
    p_robust: Float[Tensor, "tags neurons"] | None = None
    effects: Float[Tensor, "tags neurons"] | None = None

    def __post_init__(self) -> None:
        expected = len(self.layers) * self.neurons_per_layer
        if self.values.shape[1] != expected:
            raise ValueError(
                f"got scores of {self.values.shape[1]} neurons, but {len(self.layers)} layers of "
                f"{self.neurons_per_layer} have {expected}"
            )
        for table in (self.p_values, self.p_robust, self.effects):
            if table is not None and table.shape != self.values.shape:
                raise ValueError(f"got p-values or effects {tuple(table.shape)} for scores {tuple(self.values.shape)}")


@dataclass(frozen=True, slots=True, order=True)
class KeyNeuron:
    """One selected neuron of a tag.

    ``p_value`` is that of the method's own test. ``p_adjusted`` is corrected for all neurons of all
    layers read: by permutations if they are the threshold, else by Benjamini-Hochberg on
    the robust p-values. ``effect`` is the size
    of the tested effect, if the method has one.
    """

    layer: int
    neuron: int
    score: float
    p_value: float | None = None
    p_adjusted: float | None = None
    effect: float | None = None


def neuron_name(site: str, layer: int | str, neuron: int | str, basis: str = "neurons") -> str:
    """Name of a neuron (``mlp.8.1464``) or a unit of another basis (``residual.8.sae.1042``)."""
    return ".".join([site, str(layer), *([] if basis == "neurons" else [basis]), str(neuron)])


@dataclass(frozen=True)
class NeuronSets:
    """The key neurons of every tag, strongest first; tags in alphabetical order.

    They are units of ``basis``, of which the default is the neurons themselves.
    """

    site: Site
    layers: tuple[int, ...]
    neurons_per_layer: int
    tags: Mapping[str, tuple[KeyNeuron, ...]]
    basis: str = "neurons"

    def name(self, layer: int | str, neuron: int | str) -> str:
        """Name of one of the neurons."""
        return neuron_name(self.site, layer, neuron, self.basis)

    def columns(self, tag: str) -> list[int]:
        """Positions of a tag's neurons among the neurons of all layers, concatenated."""
        return [self.layers.index(n.layer) * self.neurons_per_layer + n.neuron for n in self.tags[tag]]

    def union(self) -> list[int]:
        """Positions of the neurons of all tags, ascending and without duplicates."""
        return sorted({column for tag in self.tags for column in self.columns(tag)})

    @property
    def one_ranking(self) -> bool:
        """Whether three or more tags all have the same neurons: a ranking that ignores the tag.

        Two tags have equal sets with every method that treats a tag and its complement alike.
        """
        own = {frozenset(self.columns(tag)) for tag in self.tags}
        return len(self.tags) > 2 and len(own) == 1 and own != {frozenset()}

    def of_layer(self, layer: int, tags: Iterable[str]) -> NeuronSets:
        """The neurons of one layer, for each of the given tags that has a set."""
        own = {tag: tuple(n for n in self.tags[tag] if n.layer == layer) for tag in tags if tag in self.tags}
        return replace(self, layers=(layer,), tags=own)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tags)
