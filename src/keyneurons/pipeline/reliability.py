"""Reliability of the key neurons: stability over resamples, confounds, redundancy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from keyneurons.activations.reader import ActivationReader
from keyneurons.analysis.confounds import Confounded, confounds_of
from keyneurons.analysis.redundancy import Redundancy, redundancy
from keyneurons.analysis.resampling import bootstraps, split_halves
from keyneurons.analysis.stability import Stability, stability
from keyneurons.data.word_features import word_features
from keyneurons.pipeline.dataset import LabelledText
from keyneurons.pipeline.evidence import Evidence
from keyneurons.pipeline.given_sets import GivenSets
from keyneurons.pipeline.key_neurons import KeyNeurons, Selection, select_from
from keyneurons.progress import stage
from keyneurons.records import NeuronSets
from keyneurons.selection.interface import Source


@dataclass(frozen=True)
class Checks:
    """Numbers of random halvings and bootstraps of the train sentences, and further checks.

    With ``confounds``, a neuron vanishes if less than ``confound_share`` of its correlation is left
    when they are controlled for.
    """

    halves: int
    bootstraps: int
    confounds: bool
    redundancy: bool
    confound_share: float = 0.5

    @property
    def resamples(self) -> bool:
        """Whether the sets of resamples are compared."""
        return self.halves > 0 or self.bootstraps > 1


@dataclass(frozen=True)
class Reliability:
    """The results of the checks; empty or None for checks that were not requested.

    ``stability`` is by kind of resample (``halves``, ``bootstrap``), ``confounds`` by tag in the
    order of the neurons in the sets.
    """

    stability: Mapping[str, Stability]
    confounds: Mapping[str, tuple[Confounded, ...]] | None
    redundancy: Redundancy | None

    def metrics(self) -> dict[str, float]:
        """All metrics by their MLflow names."""
        values: dict[str, float] = {}
        for kind, stable in self.stability.items():
            values[f"stability/{kind}/jaccard"] = stable.mean()
            values[f"stability/{kind}/expected_jaccard"] = stable.mean_expected()
            values |= {f"stability/{kind}/jaccard/{tag}": value for tag, value in stable.jaccard.items()}
            values |= {f"stability/{kind}/expected_jaccard/{tag}": value for tag, value in stable.expected.items()}
        if self.confounds is not None:
            vanishing = [neuron.vanishes for of_tag in self.confounds.values() for neuron in of_tag]
            values["confounds/vanishing"] = float(sum(vanishing))
            values["confounds/vanishing_fraction"] = float(np.mean(vanishing))
        if self.redundancy is not None:
            values["redundancy/clusters"] = float(len(self.redundancy.clusters))
            values["redundancy/effective_dimension"] = self.redundancy.effective_dimension
            by_tag = self.redundancy.effective_dimension_by_tag
            values |= {f"redundancy/effective_dimension/{tag}": value for tag, value in by_tag.items()}
        return values


def check_reliability(
    checks: Checks,
    selection: Selection | GivenSets,
    read: ActivationReader,
    text: LabelledText,
    key_neurons: KeyNeurons,
    evidence: Evidence,
) -> Reliability:
    """Run the requested checks on the train words; the stability of given sets is not defined.

    Args:
        checks: The requested checks.
        selection: How the key neurons were selected, or the given sets.
        read: Reader of activations, for the numbers of tokens of the words.
        text: The treebank and its labels.
        key_neurons: The key neurons.
        evidence: The probes, with the activations of the key neurons on the train words.

    Returns:
        The results of the checks.
    """
    labels, train, words = text.labels, text.treebank.splits["train"], text.labels.splits["train"]
    stable, confounded, redundant, scored = {}, None, None, key_neurons.words
    if checks.resamples and isinstance(selection, Selection):
        source = selection.source(scored)
        stable = resampled_stability(checks, selection, source, labels.names, scored.tags, scored.sentences)
    if checks.confounds and key_neurons.sets.union():
        with stage("confounds"):
            features = word_features(train, words.rows, read.token_counts(train))
            confounded = confounds_of(
                key_neurons.sets, evidence.union, words.tags, labels.names, features, checks.confound_share
            )
    if checks.redundancy and np.ptp(evidence.union, axis=0).any():  # the key neurons may all be constant
        with stage("redundancy"):
            redundant = redundancy(key_neurons.sets, evidence.union)
    return Reliability(stable, confounded, redundant)


def resampled_stability(
    checks: Checks,
    selection: Selection,
    driver: Source,
    names: tuple[str, ...],
    tags: Int[ndarray, " words"],
    sentence_of_word: Int[ndarray, " words"],
) -> dict[str, Stability]:
    """Stability of the sets over resampled train sentences, by the rule without its threshold.

    Halvings compare the two halves, bootstraps every pair of resamples. A resample excludes tags
    with fewer than 2 words and tags that the scorer rejects. Kinds of resample without any tag are
    absent.
    """

    def sets_on(positions: Int[ndarray, " some"]) -> NeuronSets:
        sets = select_from(selection, driver, names, tags, positions)
        progress.advance()
        return sets

    pairs: dict[str, list[tuple[NeuronSets, NeuronSets]]] = {"halves": [], "bootstrap": []}
    with stage("stability", total=2 * checks.halves + checks.bootstraps, unit="resamples") as progress:
        if checks.halves:
            halvings = split_halves(sentence_of_word, checks.halves, selection.seed)
            pairs["halves"] = [(sets_on(first), sets_on(second)) for first, second in halvings]
        if checks.bootstraps:
            resamples = bootstraps(sentence_of_word, checks.bootstraps, selection.seed)
            pairs["bootstrap"] = list(combinations(map(sets_on, resamples), 2))
    measured = {kind: stability(of_kind) for kind, of_kind in pairs.items() if of_kind}
    return {kind: stable for kind, stable in measured.items() if stable.jaccard}
