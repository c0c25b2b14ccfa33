"""From scores to key neurons: any score, any rule."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from keyneurons.records import KeyNeuron, NeuronSets, Scope, Scores
from keyneurons.selection.significance import benjamini_hochberg


def top_k_neurons(scores: Float[Tensor, "tags neurons"], k: int) -> Int[Tensor, "tags k"]:
    """Indices of the k strongest neurons of each tag, strongest first; ties go to the lower index.

    Returns:
        Columns of the scores.

    Raises:
        ValueError: If k is not in 1..neurons or a score is not finite.
    """
    n_neurons = scores.shape[1]
    if not 0 < k <= n_neurons:
        raise ValueError(f"top_k must lie in 1..{n_neurons} (the neurons to choose from), got {k}")
    if not scores.isfinite().all():
        raise ValueError(f"{int((~scores.isfinite()).sum())} scores are not finite")
    return torch.sort(scores.abs(), dim=1, descending=True, stable=True).indices[:, :k]


def select(scores: Scores, tag_names: Sequence[str], top_k: int, scope: Scope) -> NeuronSets:
    """Take the ``top_k`` strongest neurons of every tag in each layer, or over all layers together.

    Strongest first over the whole set of a tag, ties to the lower column. Adjusted p-values count all neurons of all
    layers of the scores as looked at, tag by tag.

    Returns:
        The key neurons of every tag.

    Raises:
        ValueError: If the names do not fit the scores, top_k is out of range or a selected score is exactly 0.
    """
    if len(tag_names) != len(scores.values) or len(set(tag_names)) != len(tag_names):
        raise ValueError(f"{len(scores.values)} rows of scores need as many different names, got {list(tag_names)}")
    width = scores.neurons_per_layer
    pool = width if scope == "layer" else width * len(scores.layers)
    pools = [
        first + _strong_top_k(scores.values[:, first : first + pool], tag_names, top_k)
        for first in range(0, scores.values.shape[1], pool)
    ]
    chosen = torch.cat(pools, dim=1).sort(dim=1).values  # in the order of columns, so that ties go to the lower one
    columns = chosen.gather(1, top_k_neurons(scores.values.gather(1, chosen), chosen.shape[1]))
    sets = dict(zip(tag_names, _key_neurons(scores, columns), strict=True))
    return NeuronSets(scores.site, scores.layers, width, {name: sets[name] for name in sorted(sets)})


def _strong_top_k(scores: Float[Tensor, "tags neurons"], names: Sequence[str], k: int) -> Int[Tensor, "tags k"]:
    """The top k, none of which may be a score of 0: that neuron would be there by its index alone.

    Raises:
        ValueError: If one is.
    """
    columns = top_k_neurons(scores, k)
    for name, of_tag in zip(names, scores, strict=True):
        if (n_strong := int(of_tag.count_nonzero())) < k:
            raise ValueError(
                f"top_k={k} needs as many neurons with a score other than 0, tag {name} has {n_strong} of {len(of_tag)}"
            )
    return columns


def _key_neurons(scores: Scores, columns: Int[Tensor, "tags k"]) -> list[tuple[KeyNeuron, ...]]:
    values = scores.values.gather(1, columns).tolist()
    p_values: list[list[float | None]] = [[None] * columns.shape[1]] * len(columns)
    p_adjusted = p_values
    if scores.p_values is not None:
        p_values = scores.p_values.gather(1, columns).tolist()
        p_adjusted = benjamini_hochberg(scores.p_values).gather(1, columns).tolist()
    width = scores.neurons_per_layer
    places = [[(scores.layers[c // width], c % width) for c in row] for row in columns.tolist()]
    return [
        tuple(KeyNeuron(*place, *numbers) for place, *numbers in zip(*of_tag, strict=True))
        for of_tag in zip(places, values, p_values, p_adjusted, strict=True)
    ]
