"""Interface between the pipeline and selection methods."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Num
from numpy import ndarray
from torch import Tensor

from keyneurons.records import Scores, Site
from keyneurons.selection.clusters import intraclass_correlations
from keyneurons.selection.moments import Moments
from keyneurons.selection.scorer import ColumnError
from keyneurons.selection.views import View

Tagging = Callable[[int], Int[ndarray, " words"]]


@runtime_checkable
class Source(Protocol):
    """Values of the neurons of some layers on some words: activations or attributions."""

    @property
    def site(self) -> Site:
        """Where in the block the values are read."""
        ...

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers, in the order in which their neurons are concatenated."""
        ...

    @property
    def width(self) -> int:
        """Number of neurons per layer."""
        ...

    @property
    def n_tags(self) -> int:
        """Number of tags."""
        ...

    @property
    def budget_bytes(self) -> int:
        """Memory budget of scoring."""
        ...

    @property
    def sentences(self) -> Int[ndarray, " words"] | None:
        """The number of each word's sentence; None if words are independent."""
        ...

    def of_words(self, positions: Int[ndarray, " some"], n_tags: int) -> Source:
        """A source for some of the words, by position; positions may repeat."""
        ...

    def moments(self, taggings: Int[ndarray, "taggings words"], views: Collection[View]) -> dict[View, list[Moments]]:
        """Moments of some views under every tagging, layers concatenated."""
        ...

    def columns(self, *, per_neuron: bool) -> Iterator[tuple[int, Num[Tensor, "words block"]]]:
        """Yield values of blocks of neurons, each with the position of its first neuron."""
        ...

    def identity(self) -> tuple[object, ...] | None:
        """Everything that determines scores except method and tags; None where unknown."""
        ...


@dataclass(frozen=True)
class Traits:
    """Requirements and capabilities of a selection method.

    Args:
        views: views of the activations, for a method that needs only their moments.
        per_neuron: for any other method, whether the score of a neuron is independent of other
            neurons.
        tested: whether scores have p-values.
        permutable: whether ``threshold=permutation`` is a meaningful test of the scores.
        may_be_empty: whether scores of 0 for all neurons are a valid result rather than an error.
    """

    views: tuple[View, ...] = ()
    per_neuron: bool = False
    tested: bool = False
    permutable: bool = True
    may_be_empty: bool = False


@runtime_checkable
class Scoring(Protocol):
    """A selection method as the pipeline uses it; ``scoring_of`` adapts any scorer."""

    @property
    def traits(self) -> Traits:
        """Requirements and capabilities of the method."""
        ...

    def scores(
        self, source: Source, tags: Int[ndarray, " words"], moments: Mapping[View, Moments] | None = None
    ) -> Scores:
        """Score every neuron of every layer, from ``moments`` of the method's views if given."""
        ...

    def maxima(self, source: Source, tagging: Tagging, n: int) -> Iterator[Float[Tensor, " tags"]]:
        """Largest absolute score of each tag under each of n taggings."""
        ...


def maxima_one_by_one(scoring: Scoring, source: Source, tagging: Tagging, n: int) -> Iterator[Float[Tensor, " tags"]]:
    """Largest absolute score of each tag under each of n taggings, scored one at a time."""
    for i in range(n):
        yield scoring.scores(source, tagging(i)).values.abs().amax(dim=1)


def source_correlations(source: Source, tags: Int[ndarray, " words"]) -> Float[Tensor, " tags"] | None:
    """Intraclass correlations of the tags in the sentences of a source; None if unknown."""
    if source.sentences is None:
        return None
    return intraclass_correlations(torch.from_numpy(tags), torch.from_numpy(source.sentences), source.n_tags)


@contextmanager
def naming_neurons(site: Site, layers: tuple[int, ...], width: int, first: int = 0) -> Generator[None]:
    """Replace column numbers in errors by layer and neuron; ``first`` is the position of column 0.

    Yields:
        Nothing.

    Raises:
        ValueError: If the body raises a ``ColumnError``.
    """
    try:
        yield
    except ColumnError as error:
        layer, neuron = divmod(first + error.column, width)
        raise ValueError(f"neuron {neuron} of layer {layers[layer]} (site {site}) {error.fault}") from error
