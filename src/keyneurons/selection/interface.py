"""How the pipeline and a selection method meet: what a method offers, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int, Num
from numpy import ndarray
from torch import Tensor

from keyneurons.records import Scores, Site
from keyneurons.selection.moments import Moments
from keyneurons.selection.scorer import ColumnError
from keyneurons.selection.views import View

Tagging = Callable[[int], Int[ndarray, " words"]]


@runtime_checkable
class Source(Protocol):
    """Values of the neurons of some layers on some words: activations or attributions, stored or streamed."""

    @property
    def site(self) -> Site:
        """Where in the block the values are read."""
        ...

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers, in the order in which their neurons stand side by side."""
        ...

    @property
    def width(self) -> int:
        """Neurons of a layer."""
        ...

    @property
    def n_tags(self) -> int:
        """Number of tags."""
        ...

    @property
    def budget_bytes(self) -> int:
        """Memory that scoring may take at a time."""
        ...

    def of_words(self, positions: Int[ndarray, " some"], n_tags: int) -> Source:
        """The same for some of the words, by their positions among them; a word may be taken twice."""
        ...

    def moments(self, taggings: Int[ndarray, "taggings words"], views: Collection[View]) -> dict[View, list[Moments]]:
        """The moments of some views under every tagging, all layers side by side."""
        ...

    def columns(self, *, per_neuron: bool) -> Iterator[tuple[int, Num[Tensor, "words block"]]]:
        """Values of all neurons, some at a time, with the position of the first of them."""
        ...

    def identity(self) -> tuple[object, ...] | None:
        """All that scores depend on beside the method and the tags, or None where that cannot be told."""
        ...


@dataclass(frozen=True)
class Traits:
    """What a selection method needs and offers.

    Args:
        views: a method that needs nothing but the moments of some views of the activations names them.
        per_neuron: of any other method, whether the score of a neuron depends on no other neuron.
        tested: whether scores come with p-values.
        permutable: whether ``threshold=permutation`` is a meaningful test of the scores.
        may_be_empty: whether scores of 0 for all neurons are a result and not a fault.
    """

    views: tuple[View, ...] = ()
    per_neuron: bool = False
    tested: bool = False
    permutable: bool = True
    may_be_empty: bool = False


@runtime_checkable
class Scoring(Protocol):
    """A selection method as the pipeline uses it; ``scoring_of`` makes one of any scorer."""

    @property
    def traits(self) -> Traits:
        """What the method needs and offers."""
        ...

    def scores(
        self, source: Source, tags: Int[ndarray, " words"], moments: Mapping[View, Moments] | None = None
    ) -> Scores:
        """Score every neuron of every layer; ``moments`` are those of the method's views, where they are known."""
        ...

    def maxima(self, source: Source, tagging: Tagging, n: int) -> Iterator[Float[Tensor, " tags"]]:
        """The largest magnitude of a score of each tag under each of n taggings."""
        ...


def maxima_one_by_one(scoring: Scoring, source: Source, tagging: Tagging, n: int) -> Iterator[Float[Tensor, " tags"]]:
    """The largest magnitude of a score of each tag under each of n taggings, scored one after another."""
    for i in range(n):
        yield scoring.scores(source, tagging(i)).values.abs().amax(dim=1)


@contextmanager
def naming_neurons(site: Site, layers: tuple[int, ...], width: int, first: int = 0) -> Generator[None]:
    """Name the layer and the neuron where a column is refused; ``first`` is the place of column 0.

    Yields:
        Nothing.

    Raises:
        ValueError: If one is.
    """
    try:
        yield
    except ColumnError as error:
        layer, neuron = divmod(first + error.column, width)
        raise ValueError(f"neuron {neuron} of layer {layers[layer]} (site {site}) {error.fault}") from error
