"""Scoring activations that lie on disk: words at a time where sums suffice, else a block of neurons at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from numpy import ndarray
from torch import Tensor

from keyneurons.records import Scope, Scores, Site
from keyneurons.selection.methods.bottom import Bottom
from keyneurons.selection.moments import (
    VALUES_AT_ONCE,
    Moments,
    MomentScorer,
    MomentSums,
    SignificantMomentScorer,
    View,
)
from keyneurons.selection.scorer import ColumnError, NeuronScorer, SignificantScorer, tag_counts
from keyneurons.selection.shift import shift_bounds
from keyneurons.selection.top_share import TopShare

# Most that a per-neuron scorer holds at once for each activation of its block, measured over all of them.
BYTES_PER_VALUE = 64
BYTES_PER_MOMENT = 16  # a sum and a sum of squares

Arrays = Mapping[int, Num[ndarray, "_all_words neurons"]]


@dataclass(frozen=True)
class Driver:
    """How scorers are brought to the activations of some words.

    ``arrays`` may be memory maps. A scorer by moments reads them once, some words at a time. Any other per-neuron
    scorer sees blocks of columns that keep its memory under ``budget_bytes``; the blocks change no score. The rest need
    their neurons side by side and see a layer at a time (scope ``layer``) or all layers at once (scope ``model``),
    whatever memory that takes.

    Raises:
        ValueError: If there is no layer, or the arrays differ in shape.
    """

    arrays: Arrays
    rows: Int[ndarray, " words"]
    n_tags: int
    site: Site
    scope: Scope
    device: str = "cpu"
    budget_bytes: int = 512 * 2**20

    def __post_init__(self) -> None:
        shapes = {array.shape for array in self.arrays.values()}
        if len(shapes) != 1:
            raise ValueError(f"layers must be given and have one shape, got {sorted(shapes)}")

    @property
    def width(self) -> int:
        """Neurons of a layer."""
        return int(next(iter(self.arrays.values())).shape[1])

    def of_words(self, positions: Int[ndarray, " some"]) -> Driver:
        """The same for some of the words, by their positions among them; a word may be taken twice."""
        return replace(self, rows=self.rows[positions])

    def scores(self, scorer: NeuronScorer, tags: Int[ndarray, " words"]) -> Scores:
        """Score every neuron of every layer.

        Returns:
            The scores, with p-values where the scorer has a test; both float64 on the CPU.

        Raises:
            ValueError: If an activation is not finite or a neuron cannot be scored (names layer and neuron), the budget
                does not hold two neurons, or the scorer refuses its input.
        """
        if isinstance(scorer, Bottom):
            scores = self.scores(scorer.of, tags)
            return replace(scores, values=scorer.places(scores.values), p_values=None, p_bounds=None, effects=None)
        if isinstance(scorer, MomentScorer):
            moments = self.moments(tags[None], [scorer.view])[scorer.view]
            return moment_scores(scorer, moments[0], self.site, tuple(self.arrays))
        return self._array_scores(scorer, tags)

    def maxima(
        self, scorer: NeuronScorer, tagging: Callable[[int], Int[ndarray, " words"]], n: int
    ) -> Iterator[Float[Tensor, " tags"]]:
        """The largest magnitude of a score of each tag under each of n taggings, as many at a time as memory allows."""
        if not isinstance(scorer, MomentScorer):
            for i in range(n):
                yield self.scores(scorer, tagging(i)).values.abs().amax(dim=1)
            return
        size = BYTES_PER_MOMENT * self.n_tags * self.width * len(self.arrays)
        at_once = max(1, self.budget_bytes // (2 * size))  # one half for joining the layers
        for first in range(0, n, at_once):
            some = np.stack([tagging(i) for i in range(first, min(n, first + at_once))])
            for moments in self.moments(some, [scorer.view])[scorer.view]:
                with naming_neurons(self.site, tuple(self.arrays), self.width):
                    scores = scorer.of_moments(moments)
                yield scores.abs().amax(dim=1).cpu().double()

    def moments(self, taggings: Int[ndarray, "taggings words"], views: Collection[View]) -> dict[View, list[Moments]]:
        """The moments of some views under every tagging, all layers side by side.

        It takes one read of the activations, and one more if there are views that see all layers of a word together.
        """
        for tags in taggings:
            tag_counts(torch.from_numpy(tags), len(self.rows), self.n_tags)
        at = torch.as_tensor(taggings, dtype=torch.long, device=self.device)
        together = {view for view in views if isinstance(view, TopShare) and view.of_all_layers}
        found = self._moments_of(tuple(self.arrays), together, at)
        alone = set(views) - together
        by_layer = [self._moments_of((layer,), alone, at) for layer in self.arrays]
        for view in alone:
            found[view] = [Moments.beside(m) for m in zip(*(layer[view] for layer in by_layer), strict=True)]
        return found

    def _moments_of(
        self, layers: tuple[int, ...], views: Collection[View], at: Int[Tensor, "taggings words"]
    ) -> dict[View, list[Moments]]:
        """The moments of some views under every tagging; a view sees the neurons of these layers side by side."""
        if not views:
            return {}
        sums = {view: MomentSums(view, self.n_tags, len(at)) for view in views}
        at_once = max(1, VALUES_AT_ONCE // (self.width * len(layers)))
        for first in range(0, len(self.rows), at_once):
            rows = self.rows[first : first + at_once]
            columns = np.concatenate([self.arrays[layer][rows] for layer in layers], axis=1)
            words = torch.from_numpy(columns).to(self.device)
            for each in sums.values():
                each.add(words, at[:, first : first + at_once])
        with naming_neurons(self.site, layers, self.width):
            return {view: each.result(at) for view, each in sums.items()}

    def _array_scores(self, scorer: NeuronScorer, tags: Int[ndarray, " words"]) -> Scores:
        width, layers = self.width, tuple(self.arrays)
        block = _block_width(len(self.rows), width, self.budget_bytes) if scorer.per_neuron else width
        together = len(layers) if self.scope == "model" and not scorer.per_neuron else 1
        at = torch.as_tensor(tags, dtype=torch.long, device=self.device)
        values = torch.empty(self.n_tags, width * len(layers), dtype=torch.float64)
        p_values = torch.empty_like(values) if isinstance(scorer, SignificantScorer) else None
        for first, columns in _blocks(list(self.arrays.values()), self.rows, block, together):
            here = slice(first, first + columns.shape[1])
            words = torch.from_numpy(columns).to(self.device)
            with naming_neurons(self.site, layers, width, first):
                if isinstance(scorer, SignificantScorer) and p_values is not None:
                    values[:, here], p_values[:, here] = scorer.test(words, at, self.n_tags)
                else:
                    values[:, here] = scorer(words, at, self.n_tags)
        return Scores(self.site, layers, width, values, p_values)


def moment_scores(scorer: MomentScorer, moments: Moments, site: Site, layers: tuple[int, ...]) -> Scores:
    """Score the neurons of all layers by their moments, the layers side by side."""
    width = moments.sums.shape[1] // len(layers)
    with naming_neurons(site, layers, width):
        if not isinstance(scorer, SignificantMomentScorer):
            return Scores(site, layers, width, scorer.of_moments(moments).cpu().double())
        values, p_values = scorer.test_moments(moments)
        bounds = shift_bounds(moments) if scorer.bounded else None
        effects = scorer.effects(moments)
    tables = (None if table is None else table.cpu().double() for table in (p_values, bounds, effects))
    return Scores(site, layers, width, values.cpu().double(), *tables)


@contextmanager
def naming_neurons(site: Site, layers: Sequence[int], width: int, first: int = 0) -> Generator[None]:
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


def _blocks(
    arrays: Sequence[Num[ndarray, "all_words neurons"]], rows: Int[ndarray, " words"], block: int, together: int
) -> Iterator[tuple[int, Num[ndarray, "words block"]]]:
    """Blocks of columns with the position of the first one among all neurons; ``together`` layers go side by side."""
    width = arrays[0].shape[1]
    for layer in range(0, len(arrays), together):
        for start in range(0, width, block):
            first = min(start, width - block)  # all blocks alike: the last one goes back over some of its forerunner
            parts = [array[rows, first : first + block] for array in arrays[layer : layer + together]]
            yield layer * width + first, np.concatenate(parts, axis=1)


def _block_width(n_words: int, width: int, budget_bytes: int) -> int:
    """Columns of a block: as many as the budget allows, but with little overlap of the last two.

    Raises:
        ValueError: If the budget does not hold two neurons.
    """
    most = budget_bytes // (BYTES_PER_VALUE * max(n_words, 1))
    if most < 2:  # a sum over a single row is split between threads and so rounds in another way
        raise ValueError(
            f"budget_bytes must be at least {2 * BYTES_PER_VALUE * n_words} for {n_words} words, got {budget_bytes}"
        )
    return max(min(2, width), math.ceil(width / math.ceil(width / most)))
