"""Greedy selection of neurons by how well Gaussians classify held-out words as tag or rest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor
from torch.nn.functional import logsigmoid

from keyneurons.selection.scorer import TagError, checked_counts, wide_dtype
from keyneurons.selection.solvers.gaussian import Gaussian, word_blocks

BLOCK_WORDS = 100
HELD_OUT_BLOCKS = 5  # minimum number; blocks of a short text are smaller
ROUNDING = 1e-10  # bits; smaller differences count as 0


@dataclass(frozen=True)
class GaussianProbe:
    """Held-out information in bits that a neuron and its successors add to a set, at least 0.

    For each tag, selects up to ``n_neurons`` neurons greedily (Torroba Hennigen et al. 2020,
    arXiv:2010.02812). A Gaussian for the words of the tag and one for the rest, with relative
    frequencies as prior, are fitted to part of the words. Each step adds the neuron that maximises
    the information about the held-out words, as long as it increases. Covariances are the posterior
    mode under a conjugate prior, see ``with_prior``. The information of a set is the entropy of the
    tag among the held-out words minus the mean ``-log2 p(truth | set)``.

    Words must be in text order. Every ``round(1 / held_out)``-th block of 100 consecutive words is
    held out; blocks of a short text are smaller, so that 5 of them are held out.

    The first neuron scores the information of the whole set minus that of the empty set, the last
    the information that it adds; unselected neurons score 0, also those redundant with a selected
    one. Invariant to shift and scale; ignores whatever mean and covariance do not capture. A neuron
    that is constant over the fitted words of the tag or of the rest has no Gaussian and scores 0.
    Memory beyond the input: up to about ``24 (n_neurons + 4)`` bytes for every neuron and every
    held-out word.
    """

    n_neurons: int
    held_out: float = 0.25

    def __post_init__(self) -> None:
        if self.n_neurons < 1:
            raise ValueError(f"n_neurons must be at least 1, got {self.n_neurons}")
        if not 0 < self.held_out <= 0.5:
            raise ValueError(f"held_out must be above 0 and at most 0.5, got {self.held_out}")

    def __call__(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> Float[Tensor, "tags neurons"]:
        """Select the neurons of each tag.

        Returns:
            The information of the selected neurons, 0 for all others.

        Raises:
            ValueError: If there are fewer than ``n_neurons`` neurons, or as in ``checked_counts``.
            TagError: If a tag has fewer than 2 words in the fitted part or none in the held-out
                part.
        """
        counts = checked_counts(values, tags, n_tags)
        if self.n_neurons > values.shape[1]:
            raise ValueError(f"n_neurons must lie in 1..{values.shape[1]} (the neurons), got {self.n_neurons}")
        held = held_out_words(len(tags), self.held_out).to(tags.device)
        held_counts = torch.bincount(tags[held], minlength=n_tags)
        for tag, (all_, out) in enumerate(zip(counts.tolist(), held_counts.tolist(), strict=True)):
            if all_ - out < 2 or out < 1:
                raise TagError(tag, f"needs at least 2 fitted and 1 held-out words, got {all_ - out} and {out}")
        scores = torch.zeros(n_tags, values.shape[1], dtype=wide_dtype(values.device), device=values.device)
        for tag in range(n_tags):
            for neuron, bits in self._select(values, tags == tag, held):
                scores[tag, neuron] = bits
        return scores

    def _select(
        self, values: Num[Tensor, "words neurons"], of_tag: Bool[Tensor, " words"], held: Bool[Tensor, " words"]
    ) -> list[tuple[int, float]]:
        """The neurons of one tag in the order of selection, with their scores."""
        rows, truth = held.nonzero().squeeze(1), of_tag[held]
        tag, rest = (Gaussian(values, (side & ~held).nonzero().squeeze(1), rows) for side in (of_tag, ~of_tag))
        free = tag.varied & rest.varied
        prior = torch.full_like(tag.distance, math.log(tag.n_words / rest.n_words))
        selected: list[int] = []
        information_by_size = [information(log_posterior(prior[:, None], truth), truth).item()]
        while len(selected) < self.n_neurons:
            bits = _information_with_each(tag, rest, truth).masked_fill(~free, -torch.inf)
            best = bits.max()
            if best <= information_by_size[-1] + ROUNDING:
                break
            neuron = int((bits >= best - ROUNDING).nonzero()[0])
            free[neuron] = False
            tag.add(neuron)
            rest.add(neuron)
            selected.append(neuron)
            information_by_size.append(bits[neuron].item())
        return [
            (neuron, information_by_size[-1] - before)
            for neuron, before in zip(selected, information_by_size[:-1], strict=True)
        ]


def held_out_words(n_words: int, share: float) -> Bool[Tensor, " words"]:
    """Mask of held-out words: every ``round(1 / share)``-th block of consecutive words."""
    period = round(1 / share)
    size = min(BLOCK_WORDS, max(1, n_words // (period * HELD_OUT_BLOCKS)))
    return torch.arange(n_words) // size % period == period - 1


def information(log_posteriors: Float[Tensor, " sets"], truth: Bool[Tensor, " words"]) -> Float[Tensor, " sets"]:
    """Bits about the tag: entropy of its frequency minus mean ``-log2`` posterior of the truth."""
    frequency = truth.to(log_posteriors).mean()
    entropy: Tensor = torch.special.entr(torch.stack([frequency, 1 - frequency])).sum()
    return (entropy + log_posteriors / len(truth)) / math.log(2)


def log_posterior(odds: Float[Tensor, "words sets"], truth: Bool[Tensor, " words"]) -> Float[Tensor, " sets"]:
    """Sum over some words of the log posterior of the truth, from the log odds of tag to rest."""
    sign = torch.where(truth, 1.0, -1.0).to(odds)
    return logsigmoid(odds * sign[:, None]).sum(dim=0)


def _information_with_each(tag: Gaussian, rest: Gaussian, truth: Bool[Tensor, " held"]) -> Float[Tensor, " neurons"]:
    """Information of the selected neurons plus each candidate."""
    first, sums = 0, torch.zeros_like(tag.left)
    for words in word_blocks(tag.values, tag.held):
        some = slice(first, first + len(words))
        odds = tag.log_densities(words, some).sub_(rest.log_densities(words, some))
        sums += log_posterior(odds.add_(math.log(tag.n_words / rest.n_words)), truth[some])
        first += len(words)
    return information(sums, truth)
