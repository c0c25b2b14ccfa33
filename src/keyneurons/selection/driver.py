"""Scoring activations that lie on disk, a block of neurons at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from numpy import ndarray
from torch import Tensor

from keyneurons.records import Scope, Scores, Site
from keyneurons.selection.scorer import NeuronScorer, NonFiniteColumnError, SignificantScorer

# Most that a per-neuron scorer holds at once for each activation of its block, measured over all of them.
BYTES_PER_VALUE = 64


def score_layers(
    scorer: NeuronScorer,
    arrays: Mapping[int, Num[ndarray, "all_words neurons"]],
    rows: Int[ndarray, " words"],
    tags: Int[ndarray, " words"],
    n_tags: int,
    *,
    site: Site,
    scope: Scope,
    device: str = "cpu",
    budget_bytes: int = 512 * 2**20,
) -> Scores:
    """Score every neuron of every layer on the words at ``rows``.

    Each layer's array may be a memory map and is read in blocks of columns. A per-neuron scorer sees blocks that keep
    its memory under ``budget_bytes``, and the blocks change no score. Any other scorer needs its neurons side by side
    and sees a layer at a time (scope ``layer``) or all layers at once (scope ``model``), whatever memory that takes.

    Returns:
        The scores, with p-values where the scorer has a test; both float64 on the CPU.

    Raises:
        ValueError: If there is no layer, the arrays differ in shape, an activation is not finite (names layer and
            neuron), the budget does not hold two neurons, or the scorer refuses its input.
    """
    width = _common_width(arrays)
    block = _block_width(len(rows), width, budget_bytes) if scorer.per_neuron else width
    layers = tuple(arrays)
    together = len(layers) if scope == "model" and not scorer.per_neuron else 1
    at, n_neurons = torch.as_tensor(tags, dtype=torch.long, device=device), width * len(layers)
    values = torch.empty(n_tags, n_neurons, dtype=torch.float64)
    p_values = torch.empty_like(values) if isinstance(scorer, SignificantScorer) else None
    for first, columns in _blocks([arrays[layer] for layer in layers], rows, block, together):
        here = slice(first, first + columns.shape[1])
        try:
            values[:, here], p = _score(scorer, torch.from_numpy(columns).to(device), at, n_tags)
        except NonFiniteColumnError as error:
            layer, neuron = divmod(first + error.column, width)
            raise ValueError(
                f"activations must be finite, got {error.n_values} values that are not in layer {layers[layer]}, "
                f"neuron {neuron} (site {site})"
            ) from error
        if p_values is not None and p is not None:
            p_values[:, here] = p
    return Scores(site, layers, width, values, p_values)


def _score(
    scorer: NeuronScorer, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
) -> tuple[Float[Tensor, "tags neurons"], Float[Tensor, "tags neurons"] | None]:
    if isinstance(scorer, SignificantScorer):
        return scorer.test(values, tags, n_tags)
    return scorer(values, tags, n_tags), None


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


def _common_width(arrays: Mapping[int, Num[ndarray, "all_words neurons"]]) -> int:
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1:
        raise ValueError(f"layers must be given and have one shape, got {sorted(shapes)}")
    return int(shapes.pop()[1])
