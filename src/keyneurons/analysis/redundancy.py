"""Redundancy of key neurons: clusters, effective dimension, and principal angles between tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int, Num
from numpy import ndarray

from keyneurons.analysis.confounds import column_space, pearson, unit_columns
from keyneurons.records import NeuronSets

# A basis vector with relative singular value s has an error of about 1e-16 / s; dropping it rotates
# the space by s.
TOLERANCE = 1e-8


@dataclass(frozen=True)
class Redundancy:
    """Redundancy of the key neurons of all tags on the training words.

    ``clusters`` are positions among all neurons, as in ``NeuronSets.columns``, the representative
    first; ``angles`` are the principal angles in degrees of each pair of tags in alphabetical
    order. Tags without key neurons are in neither mapping; tags with only constant key neurons have
    no effective dimension and no angles.
    """

    clusters: tuple[tuple[int, ...], ...]
    effective_dimension: float
    effective_dimension_by_tag: Mapping[str, float]
    angles: Mapping[tuple[str, str], tuple[float, ...]]


def redundancy(sets: NeuronSets, activations: Num[ndarray, "words union"], threshold: float = 0.5) -> Redundancy:
    """Measure the redundancy of the key neurons.

    Neurons are ranked by their best position in the set of a tag, then by the magnitude of the
    score there, then by column. A QR decomposition reduces the words to as many coordinates as
    there are neurons, which preserves correlations and angles.

    Args:
        sets: The key neurons; a tag may have none.
        activations: The columns ``sets.union()`` on the training words.
        threshold: Minimum mean |r| for merging clusters.

    Returns:
        Clusters, effective dimensions and angles.

    Raises:
        ValueError: If the columns are not those of the union, no key neuron varies, or the
            threshold is not in 0..1.
    """
    union = sets.union()
    if activations.shape[1] != len(union):
        raise ValueError(
            f"got activations of {activations.shape[1]} neurons, but the key sets together have {len(union)}"
        )
    coordinates = np.asarray(np.linalg.qr(unit_columns(activations), mode="r"))
    correlations = np.clip(coordinates.T @ coordinates, -1.0, 1.0)
    place = {column: i for i, column in enumerate(union)}
    members = {tag: [place[column] for column in sets.columns(tag)] for tag in sorted(sets) if sets.tags[tag]}
    varies = correlations.diagonal() > 0
    bases = {tag: column_space(coordinates[:, columns], TOLERANCE) for tag, columns in members.items()}
    return Redundancy(
        clusters=tuple(
            tuple(union[i] for i in cluster) for cluster in _clusters(correlations, _ranks(sets, place), threshold)
        ),
        effective_dimension=_participation(correlations),
        effective_dimension_by_tag={
            tag: _participation(correlations[np.ix_(columns, columns)])
            for tag, columns in members.items()
            if varies[columns].any()
        },
        angles={(a, b): tuple(_angles(bases[a], bases[b]).tolist()) for a, b in combinations(bases, 2)},
    )


def clusters(
    activations: Num[ndarray, "words neurons"], rank: Int[ndarray, " neurons"], threshold: float = 0.5
) -> list[tuple[int, ...]]:
    """Average-linkage clusters on 1 - |r| (Sokal & Michener 1958), merged while mean |r| allows.

    Ignores the sign of correlations and non-linear relations. Constant neurons have correlation 0.

    Args:
        activations: One column per neuron.
        rank: Rank of each neuron, the best lowest.
        threshold: Minimum mean |r| between the neurons of two merged clusters.

    Returns:
        The columns of each cluster from best to worst, so that the first represents the cluster;
        clusters are in the order of their first neurons; ties go to the lower column.

    Raises:
        ValueError: If the threshold is not between 0 and 1.
    """
    return _clusters(pearson(activations, activations), rank, threshold)


def participation_ratio(activations: Num[ndarray, "words neurons"]) -> float:
    """Participation ratio of the correlation matrix: its effective dimension.

    ``(sum of eigenvalues)^2 / sum of squared eigenvalues``. It is 1 if all neurons are perfectly
    correlated and the number of neurons if all are uncorrelated (Gao et al. 2017, bioRxiv 214262).
    Invariant to the scale of neurons; excludes constant neurons. With few words, chance
    correlations decrease it.

    Returns:
        The ratio, in 1..neurons.

    Raises:
        ValueError: If no neuron varies.
    """
    return _participation(pearson(activations, activations))


def principal_angles(first: Num[ndarray, "words a"], second: Num[ndarray, "words b"]) -> Float[ndarray, " angles"]:
    """Principal angles between the spaces spanned by two sets of standardised neurons.

    Cosines are the singular values of the product of orthonormal bases (Bjorck & Golub 1973, Math.
    Comp. 27:579). Directions with a singular value below 1e-8 times the largest are excluded.
    Angles below 1e-5 degrees are rounding errors.

    Returns:
        Angles in degrees, ascending, as many as the smaller of the two ranks; none if a set has
        only constant neurons.
    """
    return _angles(column_space(unit_columns(first), TOLERANCE), column_space(unit_columns(second), TOLERANCE))


def _clusters(
    correlations: Float[ndarray, "neurons neurons"], rank: Int[ndarray, " neurons"], threshold: float
) -> list[tuple[int, ...]]:
    from scipy.cluster.hierarchy import fcluster, linkage

    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie between 0 and 1, got {threshold}")
    n_neurons = len(correlations)
    labels = np.zeros(n_neurons, dtype=np.int64)
    if n_neurons > 1:
        distances = 1 - np.abs(correlations[np.triu_indices(n_neurons, k=1)])
        labels = fcluster(linkage(distances, method="average"), 1 - threshold, criterion="distance")
    groups: dict[int, list[int]] = {}
    for i in np.argsort(rank, kind="stable").tolist():
        groups.setdefault(int(labels[i]), []).append(i)
    return [tuple(members) for members in groups.values()]


def _participation(correlations: Float[ndarray, "neurons neurons"]) -> float:
    n_varying = np.count_nonzero(correlations.diagonal())  # the diagonal is 0 for a constant neuron
    if not n_varying:
        raise ValueError(f"an effective dimension needs a neuron that varies, got {len(correlations)} constant ones")
    return float(n_varying**2 / np.square(correlations).sum())


def _angles(first: Float[ndarray, "words a"], second: Float[ndarray, "words b"]) -> Float[ndarray, " angles"]:
    cosines = np.linalg.svd(first.T @ second, compute_uv=False)
    angles: ndarray = np.degrees(np.arccos(np.clip(cosines, 0.0, 1.0)))
    return angles


def _ranks(sets: NeuronSets, place: Mapping[int, int]) -> Int[ndarray, " union"]:
    """Rank of each neuron of the union by its best position, score magnitude there, and column."""
    best: dict[int, tuple[int, float]] = {}
    for tag in sets:
        for position, (column, neuron) in enumerate(zip(sets.columns(tag), sets.tags[tag], strict=True)):
            key = (position, -abs(neuron.score))
            best[place[column]] = min(best.get(place[column], key), key)
    ranks = np.empty(len(place), dtype=np.int64)
    ranks[sorted(best, key=lambda i: (*best[i], i))] = np.arange(len(place))
    return ranks
