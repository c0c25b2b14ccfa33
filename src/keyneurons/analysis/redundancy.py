"""How many different things the key neurons say: groups, effective dimension, and the angles between tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int, Num
from numpy import ndarray

from keyneurons.analysis.confounds import column_space, pearson, unit_columns
from keyneurons.records import NeuronSets

# A basis vector of relative singular value s is known to some 1e-16 / s, and leaving it out turns the space by s.
TOLERANCE = 1e-8


@dataclass(frozen=True)
class Redundancy:
    """What the key neurons of all tags share on the words of train.

    ``clusters`` holds positions among all neurons, as ``NeuronSets.columns`` gives them, the representative first;
    ``angles`` the principal angles in degrees of each pair of tags in alphabetical order. Tags without key neurons
    are in neither mapping, tags whose key neurons are all constant have no effective dimension and no angles.
    """

    clusters: tuple[tuple[int, ...], ...]
    effective_dimension: float
    effective_dimension_by_tag: Mapping[str, float]
    angles: Mapping[tuple[str, str], tuple[float, ...]]


def redundancy(sets: NeuronSets, activations: Num[ndarray, "words union"], threshold: float = 0.5) -> Redundancy:
    """Measure what the key neurons share.

    A neuron ranks by its best place in the set of a tag, then by the larger magnitude of its score there, then by the
    lower column. One QR decomposition turns the words into as many coordinates as there are neurons: correlations and
    angles stay what they are.

    Args:
        sets: The key neurons; a tag may have none.
        activations: The columns ``sets.union()`` on the words of train.
        threshold: The mean |r| from which groups of neurons are merged.

    Returns:
        Clusters, effective dimensions and angles.

    Raises:
        ValueError: If the columns are not those of the union, no key neuron varies, or the threshold is not in 0..1.
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
    """Group neurons by average linkage on 1 - |r| (Sokal & Michener 1958), as long as the mean |r| keeps a threshold.

    The sign of a correlation is ignored, and so is whatever is not linear. A constant neuron correlates with none.

    Args:
        activations: One column a neuron.
        rank: How good each neuron is, the best the lowest.
        threshold: The least mean |r| between the neurons of two groups that are merged.

    Returns:
        The columns of each cluster from best to worst, so that the best stands for the cluster, and the clusters in
        the order of their best; ties go to the lower column.

    Raises:
        ValueError: If the threshold is not between 0 and 1.
    """
    return _clusters(pearson(activations, activations), rank, threshold)


def participation_ratio(activations: Num[ndarray, "words neurons"]) -> float:
    """Effective dimension: ``(sum of eigenvalues)^2 / sum of their squares``, of the correlation matrix.

    It is 1 where all neurons say the same, and their number where none correlates with another (Gao et al. 2017,
    bioRxiv 214262). It ignores the scale of the neurons; constant neurons are left out. With few words chance
    correlations lower it.

    Returns:
        The ratio, in 1..neurons.

    Raises:
        ValueError: If no neuron varies.
    """
    return _participation(pearson(activations, activations))


def principal_angles(first: Num[ndarray, "words a"], second: Num[ndarray, "words b"]) -> Float[ndarray, " angles"]:
    """Principal angles between the spaces that two sets of neurons span over the words, each neuron standardised.

    Cosines are the singular values of the product of orthonormal bases (Bjorck & Golub 1973, Math. Comp. 27:579).
    Directions with less than 1e-8 of the strongest singular value are not counted. Angles below 1e-5 degrees are
    rounding.

    Returns:
        Angles in degrees, ascending, as many as the smaller of the two ranks; none if a set has only constant neurons.
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
    found: dict[int, list[int]] = {}
    for i in np.argsort(rank, kind="stable").tolist():
        found.setdefault(int(labels[i]), []).append(i)
    return [tuple(members) for members in found.values()]


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
    """Rank of each neuron of the union by its best place, the magnitude of its score there, and its column."""
    best: dict[int, tuple[int, float]] = {}
    for tag in sets:
        for position, (column, neuron) in enumerate(zip(sets.columns(tag), sets.tags[tag], strict=True)):
            key = (position, -abs(neuron.score))
            best[place[column]] = min(best.get(place[column], key), key)
    ranks = np.empty(len(place), dtype=np.int64)
    ranks[sorted(best, key=lambda i: (*best[i], i))] = np.arange(len(place))
    return ranks
