"""Neurons chosen greedily by how well Gaussians of the tag and the rest tell them apart on held-out words."""

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
HELD_OUT_BLOCKS = 5  # at least so many, of fewer words where the text is short
ROUNDING = 1e-10  # bits; a smaller difference is none


@dataclass(frozen=True)
class GaussianProbe:
    """Held-out information in bits that a neuron and those chosen after it add to the ones before; never negative.

    For each tag a set of at most ``n_neurons`` neurons, chosen one by one (Torroba Hennigen et al. 2020,
    arXiv:2010.02812): a Gaussian for the words of the tag and one for the rest, with relative frequencies as prior,
    are fitted to a part of the words, and the neuron joins with which they say most about the held-out words, as long
    as it says more than none. Covariances are the posterior mode under a conjugate prior, see ``with_prior``. The
    information of a set is the entropy of the tag among the held-out words minus the mean ``-log2 p(truth | set)``.

    The words must be in the order of the text. Blocks of 100 consecutive words are dealt out, every
    ``round(1 / held_out)``-th one is held out; the blocks of a short text are smaller, so that 5 of them are held out.

    The first neuron chosen scores the information of the whole set over that of no neuron, the last what it adds; all
    not chosen score 0, also those that say the same as one chosen. It ignores shift and scale, and whatever mean and
    covariance do not show. A neuron that is constant over the fitted words of the tag or of the rest has no Gaussian
    there and scores 0. Beside its input it holds up to some ``24 (n_neurons + 4)`` bytes for every neuron and every
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
        """Choose the neurons of each tag.

        Returns:
            The information of the chosen neurons, 0 for all others.

        Raises:
            ValueError: If there are fewer than ``n_neurons`` neurons, and for whatever ``checked_counts`` refuses.
            TagError: If a tag has fewer than 2 words in the fitted part or none in the held-out part.
        """
        counts = checked_counts(values, tags, n_tags)
        if self.n_neurons > values.shape[1]:
            raise ValueError(f"n_neurons must lie in 1..{values.shape[1]} (the neurons), got {self.n_neurons}")
        held = held_out_words(len(tags), self.held_out).to(tags.device)
        held_counts = torch.bincount(tags[held], minlength=n_tags)
        for tag, (all_, out) in enumerate(zip(counts.tolist(), held_counts.tolist(), strict=True)):
            if all_ - out < 2 or out < 1:
                raise TagError(tag, f"needs 2 words in the fitted part and 1 held out, got {all_ - out} and {out}")
        scores = torch.zeros(n_tags, values.shape[1], dtype=wide_dtype(values.device), device=values.device)
        for tag in range(n_tags):
            for neuron, bits in self._choose(values, tags == tag, held):
                scores[tag, neuron] = bits
        return scores

    def _choose(
        self, values: Num[Tensor, "words neurons"], of_tag: Bool[Tensor, " words"], held: Bool[Tensor, " words"]
    ) -> list[tuple[int, float]]:
        """The neurons of one tag in the order of choice, with their scores."""
        rows, truth = held.nonzero().squeeze(1), of_tag[held]
        tag, rest = (Gaussian(values, (side & ~held).nonzero().squeeze(1), rows) for side in (of_tag, ~of_tag))
        free = tag.varied & rest.varied
        prior = torch.full_like(tag.distance, math.log(tag.n_words / rest.n_words))
        chosen: list[int] = []
        known = [information(log_posterior(prior[:, None], truth), truth).item()]
        while len(chosen) < self.n_neurons:
            bits = _with_each(tag, rest, truth).masked_fill(~free, -torch.inf)
            best = bits.max()
            if best <= known[-1] + ROUNDING:
                break
            neuron = int((bits >= best - ROUNDING).nonzero()[0])
            free[neuron] = False
            tag.add(neuron)
            rest.add(neuron)
            chosen.append(neuron)
            known.append(bits[neuron].item())
        return [(neuron, known[-1] - before) for neuron, before in zip(chosen, known[:-1], strict=True)]


def held_out_words(n_words: int, share: float) -> Bool[Tensor, " words"]:
    """Which words are held out: every ``round(1 / share)``-th block of consecutive ones."""
    period = round(1 / share)
    size = min(BLOCK_WORDS, max(1, n_words // (period * HELD_OUT_BLOCKS)))
    return torch.arange(n_words) // size % period == period - 1


def information(log_posteriors: Float[Tensor, " sets"], truth: Bool[Tensor, " words"]) -> Float[Tensor, " sets"]:
    """Bits about the tag: the entropy of its frequency less the mean ``-log2`` posterior of the truth."""
    frequency = truth.to(log_posteriors).mean()
    entropy: Tensor = torch.special.entr(torch.stack([frequency, 1 - frequency])).sum()
    return (entropy + log_posteriors / len(truth)) / math.log(2)


def log_posterior(odds: Float[Tensor, "words sets"], truth: Bool[Tensor, " words"]) -> Float[Tensor, " sets"]:
    """Sum over some words of the log posterior of the truth, from the log odds of tag against rest."""
    sign = torch.where(truth, 1.0, -1.0).to(odds)
    return logsigmoid(odds * sign[:, None]).sum(dim=0)


def _with_each(tag: Gaussian, rest: Gaussian, truth: Bool[Tensor, " held"]) -> Float[Tensor, " neurons"]:
    """Information of the chosen neurons and each other one."""
    first, sums = 0, torch.zeros_like(tag.left)
    for words in word_blocks(tag.values, tag.held):
        some = slice(first, first + len(words))
        odds = tag.log_densities(words, some).sub_(rest.log_densities(words, some))
        sums += log_posterior(odds.add_(math.log(tag.n_words / rest.n_words)), truth[some])
        first += len(words)
    return information(sums, truth)
