"""Pearson correlation of a neuron with a tag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from keyneurons.selection.scorer import checked_counts, wide


@dataclass(frozen=True)
class Correlation:
    """Pearson correlation r of a neuron's activations with a tag's 0/1 indicator (point-biserial), signed.

    ``r = sum_t(x - mean) / sqrt(sum((x - mean)^2) n_t (1 - n_t / N))``, the first sum over the words of the tag
    (Tate 1954, Ann. Math. Stat. 25:603). It ignores shift and scale of a neuron, whatever is not linear (a tag in the
    middle of a neuron's range scores 0), and all other neurons. It does not ignore frequency: a rare tag cannot reach
    a high r with heavy overlap. A constant neuron scores 0. Sums are in float64 around the mean.
    """

    per_neuron: ClassVar[bool] = True

    def __call__(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> Float[Tensor, "tags neurons"]:
        """Correlation of every neuron with every tag, in -1..1; refuses what ``checked_counts`` refuses."""
        counts = checked_counts(values, tags, n_tags)
        constant = (values == values[0]).all(dim=0)
        centred = wide(values[tags.argsort(stable=True)].T)  # neurons by rows: a sum then depends on no other neuron
        centred -= centred.mean(dim=1, keepdim=True)
        sums = torch.stack([words.sum(dim=1) for words in torch.split_with_sizes(centred, counts.tolist(), dim=1)])
        scale = centred.square_().sum(dim=1).sqrt()
        indicator_scale = (counts * (1 - counts.to(scale) / len(tags))).sqrt()
        scores = (sums / scale / indicator_scale[:, None]).clamp(-1, 1)  # rounding alone can pass 1
        return scores.masked_fill(constant, 0.0)

    def test(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> tuple[Float[Tensor, "tags neurons"], Float[Tensor, "tags neurons"]]:
        """Test for correlation, two-sided.

        Under independence and normal activations ``r^2`` is Beta(1/2, (N-2)/2), which is Student's t with N-2 degrees
        of freedom for ``r sqrt((N-2) / (1-r^2))``. It assumes independent words, which running text does not have.

        Returns:
            The scores and their p-values.

        Raises:
            ValueError: If there are fewer than 3 words, and for whatever the call refuses.
        """
        from scipy.special import betainc

        if len(tags) < 3:
            raise ValueError(f"a correlation has a p-value from 3 words on, got {len(tags)}")
        scores = self(values, tags, n_tags)
        p_values = betainc((len(tags) - 2) / 2, 0.5, 1 - scores.cpu().double().square().numpy())
        return scores, torch.from_numpy(p_values).to(scores)
