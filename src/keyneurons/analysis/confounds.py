"""Tests of whether key neurons mark their tag or other word features correlated with the tag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num
from numpy import ndarray

from keyneurons.analysis.multiple_tests import adjusted_p_values
from keyneurons.records import NeuronSets

EXPLAINED = 1e-10  # share of variance below which regression residuals are rounding errors


@dataclass(frozen=True, slots=True)
class Confounded:
    """Correlations of a key neuron with confounds, and its partial correlation with its tag.

    ``correlations`` is with each confound in the given order, ``with_tag`` the correlation with the
    tag. ``partial`` is the latter controlling for the confounds, ``p_adjusted`` its p-value
    (Benjamini-Hochberg over all key neurons of all tags). ``vanishes`` says that the confounds
    explain most of the correlation: less than a given share of it is left, its sign has changed, or
    the p-value exceeds alpha.
    """

    correlations: tuple[float, ...]
    with_tag: float
    partial: float
    p_adjusted: float
    vanishes: bool


def unit_columns(x: Num[ndarray, "words columns"]) -> Float[ndarray, "words columns"]:
    """Centre each column and scale it to length 1, so that inner products are correlations.

    Returns:
        The columns in float64; constant columns are 0.

    Raises:
        ValueError: If there are no words, or a value is not finite.
    """
    if not len(x) or not np.isfinite(x).all():
        fault = f"{(~np.isfinite(x)).sum()} that are not" if len(x) else "0 words"
        raise ValueError(f"a correlation needs at least 1 word and finite values, got {fault}")
    centred = x.astype(np.float64)
    centred -= centred[0]  # constant columns become exactly 0, and large means lose no precision
    centred -= centred.mean(axis=0)
    length = np.sqrt(np.einsum("ij,ij->j", centred, centred))
    centred /= np.where(length > 0, length, 1.0)
    return centred


def pearson(x: Num[ndarray, "words a"], y: Num[ndarray, "words b"]) -> Float[ndarray, "a b"]:
    """Pearson correlation of every column of x with every column of y; 0 for constant columns."""
    r: ndarray = np.clip(unit_columns(x).T @ unit_columns(y), -1.0, 1.0)  # rounding can exceed 1
    return r


def partial_correlations(
    x: Num[ndarray, "words neurons"], y: Num[ndarray, "words tags"], confounds: Num[ndarray, "words confounds"]
) -> tuple[Float[ndarray, "neurons tags"], Float[ndarray, "neurons tags"]]:
    """Correlate the residuals of x and of y after regression on the confounds and an intercept.

    If the normal residuals are independent, ``r sqrt(df / (1 - r^2))`` follows Student's t with
    ``df = N - 2 - rank`` degrees of freedom, with the rank of the centred confounds (Fisher 1924,
    Metron 3:329): constant or collinear confounds take no degrees of freedom. A neuron or tag with
    less than 1e-10 of its variance unexplained has r = 0 and p = 1. Only linear effects of the
    confounds are removed; words are assumed independent.

    Returns:
        The partial correlations and their two-sided p-values, uncorrected.

    Raises:
        ValueError: If there are too few words for the confounds, or a value is not finite.
    """
    from scipy.special import betainc

    basis = column_space(unit_columns(confounds), len(confounds) * np.finfo(np.float64).eps)
    degrees = len(confounds) - 2 - basis.shape[1]
    if degrees < 1:
        raise ValueError(
            f"a partial correlation given {basis.shape[1]} independent confounds needs at least "
            f"{basis.shape[1] + 3} words, got {len(confounds)}"
        )
    r = np.clip(_residuals(x, basis).T @ _residuals(y, basis), -1.0, 1.0)
    return r, betainc(degrees / 2, 0.5, 1 - r**2)


def confounds_of(
    sets: NeuronSets,
    activations: Num[ndarray, "words union"],
    tags: Int[ndarray, " words"],
    tag_names: Sequence[str],
    features: Num[ndarray, "words confounds"],
    share: float = 0.5,
    alpha: float = 0.05,
) -> dict[str, tuple[Confounded, ...]]:
    """Control for the confounds in every key neuron of every tag.

    Args:
        sets: The key neurons; a tag may have none.
        activations: The columns ``sets.union()`` on the training words.
        tags: The tag index of each word.
        tag_names: The name of each tag index.
        features: The confounds of each word.
        share: Share of the correlation that must be left, else it vanishes.
        alpha: Significance level of the partial correlations.

    Returns:
        For every tag one record per key neuron, in the order of the set.

    Raises:
        ValueError: If the columns are not those of the union, a tag with key neurons has no words,
            share or alpha is not between 0 and 1, or there are too few words for the confounds.
    """
    _check(sets, activations.shape[1], tags, tag_names, {"share": share, "alpha": alpha})
    chosen = [tag for tag in sets if sets.tags[tag]]
    if not chosen:
        return {tag: () for tag in sets}
    indicators = (tags[:, None] == np.array([tag_names.index(tag) for tag in chosen])).astype(np.float64)
    with_features, with_tags = pearson(activations, features), pearson(activations, indicators)
    partial, p_values = partial_correlations(activations, indicators, features)
    place = {column: i for i, column in enumerate(sets.union())}
    pairs = [(place[column], j) for j, tag in enumerate(chosen) for column in sets.columns(tag)]
    adjusted = adjusted_p_values({i: float(p_values[pair]) for i, pair in enumerate(pairs)}).values()
    records = iter([
        Confounded(
            correlations=tuple(with_features[pair[0]].tolist()),
            with_tag=float(with_tags[pair]),
            partial=float(partial[pair]),
            p_adjusted=p,
            vanishes=p > alpha or bool(partial[pair] * np.sign(with_tags[pair]) < share * abs(with_tags[pair])),
        )
        for pair, p in zip(pairs, adjusted, strict=True)
    ])
    return {tag: tuple(next(records) for _ in sets.tags[tag]) for tag in sets}


def column_space(unit: Float[ndarray, "words columns"], tolerance: float) -> Float[ndarray, "words rank"]:
    """Orthonormal basis, without singular values up to ``tolerance`` times the largest."""
    left, singular, _ = np.linalg.svd(unit, full_matrices=False)
    return left[:, singular > tolerance * singular.max(initial=0.0)]


def _residuals(
    x: Num[ndarray, "words columns"], basis: Float[ndarray, "words rank"]
) -> Float[ndarray, "words columns"]:
    """Residuals of each column on the basis, scaled to length 1; 0 if below rounding error."""
    rest = unit_columns(x)
    for _ in range(2):  # a second pass removes rounding errors along the basis
        rest -= basis @ (basis.T @ rest)
    share = np.einsum("ij,ij->j", rest, rest)
    rest /= np.where(share >= EXPLAINED, np.sqrt(share), np.inf)
    return rest


def _check(
    sets: NeuronSets,
    n_columns: int,
    tags: Int[ndarray, " words"],
    tag_names: Sequence[str],
    shares: Mapping[str, float],
) -> None:
    for name, value in shares.items():
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie between 0 and 1, got {value}")
    if n_columns != (size := len(sets.union())):
        raise ValueError(f"got activations of {n_columns} neurons, but the key sets together have {size}")
    present = {tag_names[number] for number in np.unique(tags).tolist()}
    if absent := [tag for tag in sets if sets.tags[tag] and tag not in present]:
        raise ValueError(f"every tag with key neurons needs a word, got none for {', '.join(absent)}")
