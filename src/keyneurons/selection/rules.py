"""From scores to key neurons: any score, any rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from keyneurons.records import KeyNeuron, NeuronSets, Scope, Scores, Sign, ThresholdKind
from keyneurons.selection.significance import survivors


@dataclass(frozen=True)
class Rule:
    """Which neurons of a tag are its key neurons.

    The ``top_k`` strongest in each layer, or over all layers (``scope``); only of one ``sign``; only those that stand
    at ``alpha`` by the ``threshold``; and of these only as many as hold the share ``mass`` of what their magnitudes sum
    to. A neuron whose score is 0 is never one. So a tag may get fewer than ``top_k``, and is never filled up.
    """

    top_k: int
    scope: Scope
    sign: Sign = "both"
    threshold: ThresholdKind = "none"
    alpha: float = 0.05
    mass: float | None = None

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}")
        if self.mass is not None and not 0 <= self.mass <= 1:
            raise ValueError(f"mass must lie in 0..1, got {self.mass}")

    @property
    def restricts(self) -> bool:
        """Whether no key neuron at all is an outcome, and not a fault of the scores."""
        return self.threshold != "none" or self.sign != "both"

    def asked(self, n_layers: int) -> int:
        """Neurons that a tag gets if nothing holds it back."""
        return self.top_k * (n_layers if self.scope == "layer" else 1)


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


def holding_mass(magnitudes: Float[Tensor, "tags ranked"], share: float) -> Bool[Tensor, "tags ranked"]:
    """The fewest of the strongest neurons that hold a share of all mass, at least one; those of magnitude 0 never.

    The rule of Dalvi et al. 2019 (arXiv:1812.09355) for the weights of a probe. Magnitudes come in descending order.
    """
    if share == 1:  # rounding could leave the last one out
        return magnitudes > 0
    before = magnitudes.cumsum(dim=1) - magnitudes
    wanted = share * magnitudes.sum(dim=1, keepdim=True)
    first = torch.arange(magnitudes.shape[1], device=magnitudes.device) == 0
    return ((before < wanted) | first) & (magnitudes > 0)


def select(
    scores: Scores,
    tag_names: Sequence[str],
    rule: Rule,
    p_adjusted: Float[Tensor, "tags neurons"] | None = None,
) -> NeuronSets:
    """Take the key neurons of every tag, strongest first over the whole set, ties to the lower column.

    Args:
        scores: the scores.
        tag_names: names of the tags, in the order of the scores.
        rule: which neurons count.
        p_adjusted: p-values adjusted over the neurons of each tag, for a threshold and for the record.

    Returns:
        The key neurons of every tag, tags in alphabetical order.

    Raises:
        ValueError: If the names do not fit the scores, ``top_k`` is out of range, or a threshold has no p-values.
    """
    if len(tag_names) != len(scores.values) or len(set(tag_names)) != len(tag_names):
        raise ValueError(f"{len(scores.values)} rows of scores need as many different names, got {list(tag_names)}")
    allowed = scores.values.masked_fill(~_allowed(scores.values, rule, p_adjusted), 0.0)
    width = scores.neurons_per_layer
    pool = width if rule.scope == "layer" else width * len(scores.layers)
    kept = torch.zeros_like(allowed, dtype=torch.bool)
    for first in range(0, allowed.shape[1], pool):
        here = slice(first, first + pool)
        kept[:, here] = _strongest(allowed[:, here], rule)
    sets = {name: _key_neurons(scores, tag, kept[tag], p_adjusted) for tag, name in enumerate(tag_names)}
    return NeuronSets(scores.site, scores.layers, width, {name: sets[name] for name in sorted(sets)})


def _allowed(
    values: Float[Tensor, "tags neurons"], rule: Rule, p_adjusted: Float[Tensor, "tags neurons"] | None
) -> Bool[Tensor, "tags neurons"]:
    allowed = torch.ones_like(values, dtype=torch.bool)
    if rule.threshold != "none":
        if p_adjusted is None:
            raise ValueError(f"threshold={rule.threshold} needs p-values, and these scores have none")
        allowed = survivors(p_adjusted, rule.alpha)
    if rule.sign != "both":
        allowed &= values > 0 if rule.sign == "positive" else values < 0
    return allowed


def _strongest(scores: Float[Tensor, "tags pool"], rule: Rule) -> Bool[Tensor, "tags pool"]:
    """Whether a neuron is among those that a pool gives to a tag."""
    columns = top_k_neurons(scores, rule.top_k if rule.mass is None else max(rule.top_k, scores.shape[1]))
    ranked = scores.abs().gather(1, columns)
    kept = ranked > 0 if rule.mass is None else holding_mass(ranked, rule.mass)
    kept[:, rule.top_k :] = False
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, columns, kept)


def _key_neurons(
    scores: Scores, tag: int, kept: Bool[Tensor, " neurons"], p_adjusted: Float[Tensor, "tags neurons"] | None
) -> tuple[KeyNeuron, ...]:
    columns = kept.nonzero().squeeze(1)
    order = scores.values[tag, columns].abs().sort(descending=True, stable=True).indices
    columns = columns[order]

    def of(table: Tensor | None) -> list[float | None]:
        return [None] * len(columns) if table is None else table[tag, columns].tolist()

    numbers = zip(
        columns.tolist(), of(scores.values), of(scores.p_values), of(p_adjusted), of(scores.effects), strict=True
    )
    width = scores.neurons_per_layer
    return tuple(
        KeyNeuron(scores.layers[column // width], column % width, *rest)  # type: ignore[arg-type]
        for column, *rest in numbers
    )
