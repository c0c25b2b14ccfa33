"""Stored activations as a source for scorers, in batches of words or blocks of neurons."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from numpy import ndarray
from torch import Tensor

from keyneurons.arrays import Stored, basis_facts, cached_file, read_array
from keyneurons.progress import stage
from keyneurons.records import Scope, Scores, Site
from keyneurons.selection.columns import scoring_of
from keyneurons.selection.interface import Tagging, naming_neurons
from keyneurons.selection.moments import Moments, MomentSums, words_at_once
from keyneurons.selection.scorer import NeuronScorer, tag_counts
from keyneurons.selection.views import View

# Peak memory of a per-neuron scorer per activation of its block, measured over all methods.
BYTES_PER_VALUE = 64

Arrays = Mapping[int, Num[Stored, "_all_words neurons"]]


@dataclass(frozen=True)
class Driver:
    """Stored activations of some words, as a source for scorers.

    ``arrays`` may be memory maps, or units encoded from them. Scorers by moments read them once, in
    batches of words; other scorers receive columns.

    Raises:
        ValueError: If there are no layers, or the arrays differ in shape.
    """

    arrays: Arrays
    rows: Int[ndarray, " words"]
    n_tags: int
    site: Site
    scope: Scope
    device: str = "cpu"
    budget_bytes: int = 512 * 2**20
    sentences: Int[ndarray, " words"] | None = None

    def __post_init__(self) -> None:
        shapes = {array.shape for array in self.arrays.values()}
        if len(shapes) != 1:
            raise ValueError(
                f"there must be at least one layer, and all must have the same shape, got {sorted(shapes)}"
            )

    @property
    def width(self) -> int:
        """Number of neurons per layer."""
        return int(next(iter(self.arrays.values())).shape[1])

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers, in the order in which their neurons are concatenated."""
        return tuple(self.arrays)

    def of_words(self, positions: Int[ndarray, " some"], n_tags: int) -> Driver:
        """A source for some of the words, by position; positions may repeat."""
        sentences = None if self.sentences is None else self.sentences[positions]
        return replace(self, rows=self.rows[positions], n_tags=n_tags, sentences=sentences)

    def scores(self, scorer: NeuronScorer, tags: Int[ndarray, " words"]) -> Scores:
        """Score every neuron of every layer with any scorer."""
        return scoring_of(scorer).scores(self, tags)

    def maxima(self, scorer: NeuronScorer, tagging: Tagging, n: int) -> Iterator[Float[Tensor, " tags"]]:
        """Largest absolute score of each tag under each of n taggings."""
        return scoring_of(scorer).maxima(self, tagging, n)

    def moments(self, taggings: Int[ndarray, "taggings words"], views: Collection[View]) -> dict[View, list[Moments]]:
        """Moments of some views under every tagging, layers concatenated.

        Takes one read of the activations, and a second one if some views need all layers of a word
        together.
        """
        for tags in taggings:
            tag_counts(torch.from_numpy(tags), len(self.rows), self.n_tags)
        at = torch.as_tensor(taggings, dtype=torch.long, device=self.device)
        together = {view for view in views if view.of_all_layers}
        result = self._moments_of(tuple(self.arrays), together, at)
        alone = set(views) - together
        by_layer = []
        with stage("sums by tag", total=len(self.arrays), unit="layers") as progress:
            for layer in self.arrays:
                by_layer.append(self._moments_of((layer,), alone, at))
                progress.advance()
        for view in alone:
            result[view] = [Moments.concatenate(m) for m in zip(*(layer[view] for layer in by_layer), strict=True)]
        return result

    def _moments_of(
        self, layers: tuple[int, ...], views: Collection[View], at: Int[Tensor, "taggings words"]
    ) -> dict[View, list[Moments]]:
        """Moments of some views under every tagging; views receive these layers concatenated."""
        if not views:
            return {}
        sums = {view: MomentSums(view, [self.n_tags] * len(at)) for view in views}
        sentences = None if self.sentences is None else torch.as_tensor(self.sentences, device=self.device)
        arrays = [self.arrays[layer] for layer in layers]
        at_once = words_at_once(self.width * len(layers), at.device, self.budget_bytes)
        for first in range(0, len(self.rows), at_once):
            words = torch.from_numpy(_rows(arrays, self.rows[first : first + at_once])).to(self.device)
            for each in sums.values():
                here = None if sentences is None else sentences[first : first + at_once]
                each.add(words, at[:, first : first + at_once], here)
        with naming_neurons(self.site, layers, self.width):
            return {view: each.result(at) for view, each in sums.items()}

    def columns(self, *, per_neuron: bool) -> Iterator[tuple[int, Num[Tensor, "words block"]]]:
        """Yield the values of all neurons in blocks, each with the position of its first neuron.

        With ``per_neuron``, blocks keep the memory of a scorer below ``budget_bytes``. Otherwise a
        block is one layer (scope ``layer``) or all layers (scope ``model``).

        Yields:
            The position, and the values on the device.

        Raises:
            ValueError: If the budget is too small for two neurons.
        """
        block = _block_width(len(self.rows), self.width, self.budget_bytes) if per_neuron else self.width
        together = len(self.arrays) if self.scope == "model" and not per_neuron else 1
        for first, columns in _blocks(list(self.arrays.values()), self.rows, block, together):
            yield first, torch.from_numpy(columns).to(self.device)

    def identity(self) -> tuple[object, ...] | None:
        """Everything that determines scores except method and tags; None without cache files.

        Cache files are never modified, but a file can be replaced.
        """
        files = []
        for array in self.arrays.values():
            if (file := cached_file(array)) is None:
                return None
            path, state = file
            files.append((str(path), state.st_ino, state.st_mtime_ns, state.st_size, *basis_facts(array)))
        known = [numbers for numbers in (self.rows, self.sentences) if numbers is not None]
        words = [hashlib.blake2b(np.ascontiguousarray(numbers).data).hexdigest() for numbers in known]
        return self.site, self.layers, self.n_tags, self.scope, self.device, *files, *words


def _rows(
    arrays: Sequence[Num[Stored, "all_words neurons"]], rows: Int[ndarray, " words"]
) -> Num[ndarray, "words _columns"]:
    """Some rows of arrays side by side; one array is not copied twice."""
    taken = [read_array(array, rows) for array in arrays]
    return taken[0] if len(taken) == 1 else np.concatenate(taken, axis=1)


def _blocks(
    arrays: Sequence[Num[Stored, "all_words neurons"]], rows: Int[ndarray, " words"], block: int, together: int
) -> Iterator[tuple[int, Num[ndarray, "words block"]]]:
    """Yield blocks of columns and the position of the first; concatenates ``together`` layers."""
    width = arrays[0].shape[1]
    for layer in range(0, len(arrays), together):
        for start in range(0, width, block):
            first = min(start, width - block)  # blocks of equal width: the last one overlaps its predecessor
            here = slice(first, first + block)
            parts = [read_array(array, rows, here) for array in arrays[layer : layer + together]]
            yield layer * width + first, np.concatenate(parts, axis=1)


def _block_width(n_words: int, width: int, budget_bytes: int) -> int:
    """Columns of a block: as many as fit the budget, with little overlap of the last two blocks.

    Raises:
        ValueError: If the budget is too small for two neurons.
    """
    most = budget_bytes // (BYTES_PER_VALUE * max(n_words, 1))
    if most < 2:  # a sum over a single row is split between threads and rounds differently
        raise ValueError(
            f"budget_bytes must be at least {2 * BYTES_PER_VALUE * n_words} for {n_words} words, got {budget_bytes}"
        )
    return max(min(2, width), math.ceil(width / math.ceil(width / most)))
