"""Accuracy at equal size, and the number of random neurons that the key neurons are worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from keyneurons import metrics
from keyneurons.analysis.sentence_bootstrap import Estimate, SentenceBootstrap
from keyneurons.analysis.size_curve import first_by_rank, grid_of_sizes, size_reaching
from keyneurons.pipeline.controls.control import Case, Trial
from keyneurons.pipeline.evidence import Evidence
from keyneurons.pipeline.probes import Training
from keyneurons.pipeline.trials import Place, train_trials

RANDOM: Final = "random"
TOP_VARIANCE: Final = "top_variance"
KEY: Final = "accuracy"
FIRST_STREAM = 10  # of the bootstrap's draws of sets; lower streams belong to the controls


@dataclass(frozen=True)
class SizeCurves:
    """``sizes`` on a grid from 8 to all neurons, with ``sets`` random sets each; none if 0."""

    sizes: int
    sets: int


@dataclass(frozen=True)
class Worth:
    """Accuracies by size of the sets, and the size of random sets that equal the key neurons.

    ``random`` has one array per size, ``top_variance`` one value. ``key`` has the key neurons cut
    to each size below that of their union, and last the union. ``neurons`` is the number of all
    neurons if even they do not reach the key neurons' accuracy (``reached`` is then false).
    """

    sizes: Int[ndarray, " sizes"]
    random: tuple[Float[ndarray, " _sets"], ...]
    top_variance: Float[ndarray, " sizes"]
    key: Mapping[int, float]
    neurons: Estimate
    reached: bool

    @property
    def n_key(self) -> int:
        """Number of key neurons."""
        return list(self.key)[-1]

    def metrics(self) -> dict[str, float]:
        """Worth with its interval, and the accuracies at every size of the grid."""
        values = {**self.neurons.metrics(metrics.WORTH), metrics.WORTH_REACHED: float(self.reached)}
        for size, random, top_variance in zip(self.sizes.tolist(), self.random, self.top_variance, strict=True):
            values[metrics.equal_size(RANDOM, size)] = float(random.mean())
            values[metrics.equal_size(TOP_VARIANCE, size)] = float(top_variance)
            if size in self.key:
                values[metrics.equal_size(KEY, size)] = self.key[size]
        return values


def measure_worth(curves: SizeCurves, train: Training, case: Case, evidence: Evidence) -> Worth | None:
    """Train probes on sets of several sizes, and compare them with the key neurons.

    Random sets are drawn uniformly from all neurons of the layers read. They and the sets of
    highest variance (rank 1 of every layer, then rank 2, and so on) do not depend on the key
    neurons, so runs on the same words share them through the cache. The key neurons are cut in the
    same way: rank 1 of every tag, then rank 2, and so on.

    Args:
        curves: Number of sizes and of random sets.
        train: The training of probes.
        case: The labelled words, their activations and the key neurons.
        evidence: The probe on the key neurons.

    Returns:
        The accuracies and the worth; None without sizes or without key neurons.
    """
    if not curves.sizes or evidence.key_neurons is None:
        return None
    sizes = grid_of_sizes(case.n_neurons, curves.sizes)
    correct = train_trials(train, case, _trials(curves, case, sizes)).correct
    random = [correct[RANDOM, size] for size in sizes.tolist()]
    top_variance = [correct[TOP_VARIANCE, size][0].mean() for size in sizes.tolist()[:-1]]
    cut = {size: float(correct[KEY, size].mean()) for size in sizes.tolist() if (KEY, size) in correct}
    key = evidence.key_neurons.correct
    mean_curve = np.array([[rows.mean() for rows in random]])
    worth = size_reaching(sizes, mean_curve, key.mean(keepdims=True))[0]
    return Worth(
        sizes=sizes,
        random=tuple(rows.mean(axis=1) for rows in random),
        top_variance=np.array([*top_variance, random[-1].mean()]),  # all neurons
        key={**cut, len(case.union): float(key.mean())},
        neurons=Estimate.of(worth, _resampled(sizes, random, key, evidence.bootstrap)),
        reached=bool(mean_curve.max() >= key.mean()),
    )


def _trials(curves: SizeCurves, case: Case, sizes: Int[ndarray, " sizes"]) -> dict[Place, Trial]:
    """Sets of every size: random, of highest variance, and the key neurons below their union."""
    ranked = np.argsort(-case.variance, axis=1, kind="stable")
    by_layer = [(row + i * len(row)).tolist() for i, row in enumerate(ranked)]
    by_tag = [case.sets.columns(tag) for tag in case.sets]
    trials: dict[Place, Trial] = {}
    for size in sizes.tolist():
        rng = np.random.default_rng([case.seed, size])
        n_sets = curves.sets if size < case.n_neurons else 1
        drawn = [np.sort(rng.choice(case.n_neurons, size, replace=False)) for _ in range(n_sets)]
        trials[RANDOM, size] = Trial(np.stack(drawn))
        if size < case.n_neurons:
            trials[TOP_VARIANCE, size] = Trial(first_by_rank(by_layer, size)[None])
        if size < len(case.union):
            trials[KEY, size] = Trial(first_by_rank(by_tag, size)[None])
    return trials


def _resampled(
    sizes: Int[ndarray, " sizes"],
    random: list[Bool[ndarray, "_sets words"]],
    key: Bool[ndarray, " words"],
    bootstrap: SentenceBootstrap,
) -> Float[ndarray, " resamples"]:
    """The worth in every resample of the sentences and, at every size, of the random sets.

    The mean curve is the estimate, so a resample takes the mean over as many sets as there are,
    drawn with replacement.
    """
    curve = []
    stream = FIRST_STREAM
    for rows in random:
        of_sets = bootstrap.means(rows)
        drawn = [bootstrap.one_of(of_sets, stream + i) for i in range(len(rows))]
        curve.append(np.mean(drawn, axis=0))
        stream += len(rows)
    return size_reaching(sizes, np.stack(curve, axis=1), bootstrap.means(key[None])[:, 0])
