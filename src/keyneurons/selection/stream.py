"""Streamed attributions, which are not stored, as a source for scorers by moments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Num
from numpy import ndarray
from torch import Tensor

from keyneurons.records import Site
from keyneurons.selection.moments import Moments, MomentSums
from keyneurons.selection.scorer import tag_counts
from keyneurons.selection.views import View

Chunk = tuple[Int[ndarray, " some"], Mapping[int, Float[Tensor, "some neurons"]]]
"""Positions of some words, and the values of the neurons by layer."""


@dataclass(frozen=True)
class Stream:
    """Values of some words, recomputed in chunks on every pass.

    The words of a sentence follow each other in the chunks.
    """

    chunks: Callable[[], Iterable[Chunk]]
    site: Site
    layers: tuple[int, ...]
    width: int
    n_tags: int
    budget_bytes: int
    sentences: Int[ndarray, " words"] | None = None

    def moments(self, taggings: Int[ndarray, "taggings words"], views: Collection[View]) -> dict[View, list[Moments]]:
        """Moments of some views under every tagging, layers concatenated; takes one pass."""
        at = torch.from_numpy(taggings).long()
        for tags in at:
            tag_counts(tags, len(tags), self.n_tags)
        pools = {view: 1 if view.of_all_layers else len(self.layers) for view in views}
        sums = {view: [MomentSums(view, [self.n_tags] * len(at)) for _ in range(n)] for view, n in pools.items()}
        known, device = None if self.sentences is None else torch.from_numpy(self.sentences), at.device
        for positions, values in self.chunks():
            place = torch.from_numpy(positions)
            for view, of_view in sums.items():
                pieces = [torch.cat(list(values.values()), dim=1)] if view.of_all_layers else list(values.values())
                for each, piece in zip(of_view, pieces, strict=True):
                    device = piece.device
                    each.add(piece, at[:, place].to(device), None if known is None else known[place].to(device))
        result = {}
        for view, of_view in sums.items():
            by_pool = [each.result(at.to(device)) for each in of_view]
            result[view] = [Moments.concatenate(pieces) for pieces in zip(*by_pool, strict=True)]
        return result

    def of_words(self, positions: Int[ndarray, " some"], n_tags: int) -> Stream:
        """Not supported: a stream cannot be resampled.

        Raises:
            ValueError: Always.
        """
        raise ValueError("resampling words needs stored attributions: activations.store=true")

    def columns(self, *, per_neuron: bool) -> Iterator[tuple[int, Num[Tensor, "words block"]]]:
        """Not supported: a stream does not store all words of a neuron.

        Raises:
            ValueError: Always.
        """
        raise ValueError("this method needs stored attributions: activations.store=true")

    def identity(self) -> None:
        """Return None: passes have no identity."""
