"""Average precision of a neuron as a detector of a tag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from keyneurons.selection.scorer import checked_counts, wide_dtype


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision of a neuron as a detector of a tag: signed lift over the tag's word share.

    Words are ranked by descending activation: ``AP_t = mean over the words i of t of TP_t(i) /
    n(i)``, with n(i) the number of words whose activation is at least that of word i and TP_t(i)
    the number of words of tag t among them. This is scikit-learn's ``average_precision_score``, in
    which tied activations count together. The score is the larger AP of x and -x, divided by ``n_t
    / N``, with the sign of the better one; + on a tie. Invariant to increasing transformations of a
    neuron, such as scale and shift, and independent of other neurons. An uninformative neuron
    scores near 1, the maximum is ``N / n_t``, so rare tags have high scores. A constant neuron
    scores 0.
    """

    per_neuron: ClassVar[bool] = True

    def __call__(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> Float[Tensor, "tags neurons"]:
        """Signed lift of every neuron for every tag; errors as in ``checked_counts``."""
        counts = checked_counts(values, tags, n_tags)
        half = values.dtype in (torch.float16, torch.bfloat16)
        narrow = values.float() if half else values  # exact, and sorts faster
        rows = narrow.T.contiguous()
        del narrow
        ordered = rows.sort(dim=1).values
        constant = ordered[:, 0] == ordered[:, -1]
        lifts = []
        for tag, count in enumerate(counts.tolist()):
            own = rows[:, tags == tag].sort(dim=1).values
            rising, falling = _precision_above(own, ordered), _precision_below(own, ordered)
            best = torch.where(rising >= falling, rising, -falling)
            lifts.append((best * len(tags) / count).masked_fill(constant, 0.0))
        return torch.stack(lifts)


def _precision_above(
    own: Num[Tensor, "neurons own"], ordered: Num[Tensor, "neurons words"]
) -> Float[Tensor, " neurons"]:
    """Average precision of x: the tag's share of the words at or above each word of the tag."""
    hits = own.shape[1] - torch.searchsorted(own, own, out_int32=True)
    hits = hits.to(wide_dtype(own.device))
    hits /= ordered.shape[1] - torch.searchsorted(ordered, own, out_int32=True)
    return hits.flip(1).mean(dim=1)  # summed from the strongest word, so that x and -x round identically


def _precision_below(
    own: Num[Tensor, "neurons own"], ordered: Num[Tensor, "neurons words"]
) -> Float[Tensor, " neurons"]:
    """Average precision of -x: the tag's share of the words at or below each word of the tag."""
    hits = torch.searchsorted(own, own, right=True, out_int32=True).to(wide_dtype(own.device))
    hits /= torch.searchsorted(ordered, own, right=True, out_int32=True)
    return hits.mean(dim=1)
