"""Activations that lie on disk, as scorers need them: words at a time for sums, else a block of neurons at a time."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from numpy import ndarray
from torch import Tensor

from keyneurons.records import Scope, Scores, Site
from keyneurons.selection.columns import scoring_of
from keyneurons.selection.interface import Tagging, naming_neurons
from keyneurons.selection.moments import VALUES_AT_ONCE, Moments, MomentSums
from keyneurons.selection.scorer import NeuronScorer, tag_counts
from keyneurons.selection.views import View

# Most that a per-neuron scorer holds at once for each activation of its block, measured over all of them.
BYTES_PER_VALUE = 64

Arrays = Mapping[int, Num[ndarray, "_all_words neurons"]]


@dataclass(frozen=True)
class Driver:
    """The activations of some words, as scorers need them.

    ``arrays`` may be memory maps. A scorer by moments reads them once, some words at a time; any other sees columns.

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

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers, in the order in which their neurons stand side by side."""
        return tuple(self.arrays)

    def of_words(self, positions: Int[ndarray, " some"], n_tags: int) -> Driver:
        """The same for some of the words, by their positions among them; a word may be taken twice."""
        return replace(self, rows=self.rows[positions], n_tags=n_tags)

    def scores(self, scorer: NeuronScorer, tags: Int[ndarray, " words"]) -> Scores:
        """Score every neuron of every layer by any scorer."""
        return scoring_of(scorer).scores(self, tags)

    def maxima(self, scorer: NeuronScorer, tagging: Tagging, n: int) -> Iterator[Float[Tensor, " tags"]]:
        """The largest magnitude of a score of each tag under each of n taggings."""
        return scoring_of(scorer).maxima(self, tagging, n)

    def moments(self, taggings: Int[ndarray, "taggings words"], views: Collection[View]) -> dict[View, list[Moments]]:
        """The moments of some views under every tagging, all layers side by side.

        It takes one read of the activations, and one more if there are views that see all layers of a word together.
        """
        for tags in taggings:
            tag_counts(torch.from_numpy(tags), len(self.rows), self.n_tags)
        at = torch.as_tensor(taggings, dtype=torch.long, device=self.device)
        together = {view for view in views if view.of_all_layers}
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

    def columns(self, *, per_neuron: bool) -> Iterator[tuple[int, Num[Tensor, "words block"]]]:
        """Values of all neurons, some at a time, with the position of the first of them among all neurons.

        ``per_neuron`` makes blocks of columns that keep the memory of a scorer under ``budget_bytes``; else a layer is
        given at a time (scope ``layer``), or all layers at once (scope ``model``).

        Yields:
            The position, and the values on the device.

        Raises:
            ValueError: If the budget does not hold two neurons.
        """
        block = _block_width(len(self.rows), self.width, self.budget_bytes) if per_neuron else self.width
        together = len(self.arrays) if self.scope == "model" and not per_neuron else 1
        for first, columns in _blocks(list(self.arrays.values()), self.rows, block, together):
            yield first, torch.from_numpy(columns).to(self.device)

    def identity(self) -> tuple[object, ...] | None:
        """All that scores depend on beside the method and the tags; None where activations are not files of the cache.

        Files of the cache never change, but one may be replaced.
        """
        files = []
        for array in self.arrays.values():
            if not isinstance(array, np.memmap) or array.filename is None or not os.path.exists(array.filename):
                return None
            state = os.stat(array.filename)
            files.append((str(array.filename), state.st_ino, state.st_mtime_ns, state.st_size))
        words = hashlib.blake2b(np.ascontiguousarray(self.rows).data).hexdigest()
        return self.site, self.layers, self.n_tags, self.scope, self.device, *files, words


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
