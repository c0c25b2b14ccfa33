"""Selection of key neurons from scores."""

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
    """Rule that selects the key neurons of a tag.

    Selects up to ``top_k`` neurons in each layer, or over all layers (``scope``), in order of
    absolute score. ``sign`` restricts the sign of the scores. ``threshold`` requires significance
    at ``alpha``. ``mass`` stops at this share of the cumulative absolute score. Neurons with score
    0 are never selected, so a tag may have fewer than ``top_k`` neurons; sets are never padded.
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
        """Whether an empty set is a valid result rather than an error."""
        return self.threshold != "none" or self.sign != "both"

    def max_size(self, n_layers: int) -> int:
        """Largest possible size of a tag's set."""
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


def cumulative_mass_mask(magnitudes: Float[Tensor, "tags ranked"], share: float) -> Bool[Tensor, "tags ranked"]:
    """Mask of the fewest top neurons whose magnitudes sum to a share of the total.

    At least one neuron is selected; neurons with magnitude 0 never are. Magnitudes are in
    descending order. This is the rule of Dalvi et al. 2019 (arXiv:1812.09355) for the weights of a
    probe.
    """
    if share == 1:  # rounding could exclude the last one
        return magnitudes > 0
    before = magnitudes.cumsum(dim=1) - magnitudes
    target = share * magnitudes.sum(dim=1, keepdim=True)
    first = torch.arange(magnitudes.shape[1], device=magnitudes.device) == 0
    return ((before < target) | first) & (magnitudes > 0)


def select(
    scores: Scores,
    tag_names: Sequence[str],
    rule: Rule,
    p_adjusted: Float[Tensor, "tags neurons"] | None = None,
) -> NeuronSets:
    """Select the key neurons of every tag, strongest first; ties go to the lower column.

    Args:
        scores: the scores.
        tag_names: names of the tags, in the order of the scores.
        rule: the selection rule.
        p_adjusted: p-values adjusted over the neurons of each tag, for the threshold and for the
            record.

    Returns:
        The key neurons of every tag, tags in alphabetical order.

    Raises:
        ValueError: If the names do not match the scores, ``top_k`` is out of range, or a threshold
            has no p-values.
    """
    if len(tag_names) != len(scores.values) or len(set(tag_names)) != len(tag_names):
        raise ValueError(f"{len(scores.values)} rows of scores need as many distinct tag names, got {list(tag_names)}")
    allowed = scores.values.masked_fill(~_allowed(scores.values, rule, p_adjusted), 0.0)
    width = scores.neurons_per_layer
    pool = width if rule.scope == "layer" else width * len(scores.layers)
    selected = torch.zeros_like(allowed, dtype=torch.bool)
    for first in range(0, allowed.shape[1], pool):
        here = slice(first, first + pool)
        selected[:, here] = _strongest(allowed[:, here], rule)
    sets = {name: _key_neurons(scores, tag, selected[tag], p_adjusted) for tag, name in enumerate(tag_names)}
    return NeuronSets(scores.site, scores.layers, width, {name: sets[name] for name in sorted(sets)})


def _allowed(
    values: Float[Tensor, "tags neurons"], rule: Rule, p_adjusted: Float[Tensor, "tags neurons"] | None
) -> Bool[Tensor, "tags neurons"]:
    allowed = torch.ones_like(values, dtype=torch.bool)
    if rule.threshold != "none":
        if p_adjusted is None:
            raise ValueError(f"threshold={rule.threshold} needs p-values, but these scores have none")
        allowed = survivors(p_adjusted, rule.alpha)
    if rule.sign != "both":
        allowed &= values > 0 if rule.sign == "positive" else values < 0
    return allowed


def _strongest(scores: Float[Tensor, "tags pool"], rule: Rule) -> Bool[Tensor, "tags pool"]:
    """Mask of the neurons that a pool contributes to each tag."""
    columns = top_k_neurons(scores, rule.top_k if rule.mass is None else max(rule.top_k, scores.shape[1]))
    ranked = scores.abs().gather(1, columns)
    selected = ranked > 0 if rule.mass is None else cumulative_mass_mask(ranked, rule.mass)
    selected[:, rule.top_k :] = False
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, columns, selected)


def _key_neurons(
    scores: Scores, tag: int, selected: Bool[Tensor, " neurons"], p_adjusted: Float[Tensor, "tags neurons"] | None
) -> tuple[KeyNeuron, ...]:
    columns = selected.nonzero().squeeze(1)
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
