"""Intervals of effects of lesions beyond control sets, over sentences and control sets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.analysis.effects import check_finite, mean_changes
from keyneurons.analysis.interaction import contrast
from keyneurons.analysis.sentence_bootstrap import Estimate

CHUNK = 2**22  # values of resampled means in memory at once


@dataclass(frozen=True)
class Beyond:
    """Effects of the lesion of a tag's key neurons minus their mean under its control sets.

    ``own`` is the change of the tag's own words in bits per word, ``others`` the mean change of the
    words of the other tags (each tag counts the same), ``difference`` the first minus the second.
    """

    own: Estimate
    others: Estimate
    difference: Estimate


def beyond_controls(
    changes: Float[ndarray, "tags words"],
    controls: Float[ndarray, "sets tags words"],
    tags: Int[ndarray, " words"],
    sentences: Int[ndarray, " words"],
    *,
    draws: int,
    seed: int,
) -> tuple[Beyond, ...]:
    """Effects of the lesion of every tag beyond its control sets, with 95 % intervals.

    Sentences are resampled by the Bayesian bootstrap, as in ``advantage_interval``. Each resample
    adds an error of the mean of the ``n`` control sets: a draw of Student's t with ``n - 1``
    degrees of freedom, times their standard error. With few sets, this covers the mean of all
    possible control sets, if their effects are normally distributed; a bootstrap of five sets
    would not.

    Args:
        changes: changes of the words under the lesion of each tag's key neurons.
        controls: the same under each control set of each tag.
        tags: tags of the words.
        sentences: sentences of the words.
        draws: number of resamples.
        seed: seed of the resamples.

    Returns:
        The effects, in the order of the tags.

    Raises:
        ValueError: If a change is not finite, or there are fewer than 2 control sets.
    """
    _check(changes, controls)
    n, n_sets = len(changes), len(controls)
    beyond = np.concatenate([[changes - controls.mean(axis=0)], controls])
    rng = np.random.default_rng(seed)
    means = np.concatenate(list(_resampled(beyond[:1], tags, sentences, draws, rng)))[:, 0]
    whole = mean_changes(beyond.reshape(-1, len(tags)), tags, n)
    values, of_sets = whole[:n], whole[n:].reshape(n_sets, n, n)

    def estimate(tag: int, weights: Float[ndarray, " tags"]) -> Estimate:
        error = (of_sets[:, tag] @ weights).std(ddof=1) / math.sqrt(n_sets)
        resampled = means[:, tag] @ weights + error * rng.standard_t(n_sets - 1, draws)
        return Estimate.of(values[tag] @ weights, resampled)

    own, others = np.eye(n), (1 - np.eye(n)) / (n - 1)
    return tuple(Beyond(*(estimate(i, w) for w in (own[i], others[i], own[i] - others[i]))) for i in range(n))


def advantage_interval(
    changes: Float[ndarray, "tags words"],
    controls: Float[ndarray, "sets tags words"],
    tags: Int[ndarray, " words"],
    sentences: Int[ndarray, " words"],
    *,
    draws: int,
    seed: int,
) -> tuple[float, float]:
    """95 % interval of the diagonal advantage beyond control sets.

    Sentences and the control sets of every tag are resampled together by the Bayesian bootstrap
    (Rubin 1981, Annals of Statistics 9:130): weights from a Dirichlet distribution instead of
    draws, so that a rare tag keeps words in every resample. The weights of ``n`` control sets vary
    around their mean by ``sqrt((n + 1) / (n - 1))`` more than that, which makes the variance of a
    mean over few sets unbiased. The means of all tags and sets are recomputed in each resample. The
    interval is about other sentences and other control sets, for the same key neurons and tags.

    Args:
        changes: changes of the words under the lesion of each tag's key neurons.
        controls: the same under each control set of each tag.
        tags: tags of the words.
        sentences: sentences of the words.
        draws: number of resamples.
        seed: seed of the resamples.

    Returns:
        Its two ends.

    Raises:
        ValueError: If a change is not finite, or there are fewer than 2 control sets.
    """
    _check(changes, controls)
    n, n_sets = len(changes), len(controls)
    wider = math.sqrt((n_sets + 1) / (n_sets - 1))
    rng = np.random.default_rng(seed)
    parts = []
    for means in _resampled(np.concatenate([changes[None], controls]), tags, sentences, draws, rng):
        advantages = (means * contrast(n)).sum(axis=3)
        of_sets = 1 / n_sets + wider * (rng.dirichlet(np.ones(n_sets), (len(means), n)) - 1 / n_sets)
        parts.append((advantages[:, 0] - np.einsum("dst,dts->dt", advantages[:, 1:], of_sets)).sum(axis=1))
    resampled = np.concatenate(parts)
    interval = Estimate.of(resampled.mean(), resampled)
    return interval.low, interval.high


def _check(changes: Float[ndarray, "tags words"], controls: Float[ndarray, "sets tags words"]) -> None:
    check_finite(changes)
    check_finite(controls)
    if len(controls) < 2:
        raise ValueError(f"an interval needs at least 2 control sets, got {len(controls)}")


def _resampled(
    rows: Float[ndarray, "sets tags words"],
    tags: Int[ndarray, " words"],
    sentences: Int[ndarray, " words"],
    draws: int,
    rng: np.random.Generator,
) -> Iterator[Float[ndarray, "some_draws sets tags tags"]]:
    """Mean change of the words of every tag in Bayesian bootstrap resamples of the sentences."""
    n_rows, n, _ = rows.shape
    of_word = np.unique(sentences, return_inverse=True)[1] * n + tags
    n_sentences = int(of_word.max()) // n + 1
    size = n_sentences * n
    flat = rows.reshape(n_rows * n, -1)
    sums = np.stack([np.bincount(of_word, row, minlength=size) for row in flat]).reshape(-1, n_sentences, n)
    counts = np.bincount(of_word, minlength=size).reshape(n_sentences, n)
    for start in range(0, draws, chunk := max(1, CHUNK // sums[:, 0].size)):
        n_draws = min(chunk, draws - start)
        weights = rng.dirichlet(np.ones(n_sentences), n_draws)
        means = np.einsum("ds,cst->dct", weights, sums, optimize=True) / (weights @ counts)[:, None]
        yield means.reshape(n_draws, n_rows, n, n)
