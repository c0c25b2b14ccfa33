"""How far a ranking can be relied on: would other sentences give it, what else do its neurons mark, are they many?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from keyneurons.pipeline.key_neurons import KeyNeurons, Selection
from keyneurons.records import NeuronSets
from keyneurons.selection.interface import Source
from keyneurons.selection.rules import select
from keyneurons.selection.scorer import TagError

LEAST_WORDS = 2  # of a tag in a resample: fewer have no variance


@dataclass(frozen=True)
class Checks:
    """Which checks are made: random halvings and bootstraps of the train sentences, confounds, redundancy."""

    halves: int
    bootstraps: int
    confounds: bool
    redundancy: bool

    @property
    def resamples(self) -> bool:
        """Whether sets are compared between resamples."""
        return self.halves > 0 or self.bootstraps > 1


@dataclass(frozen=True)
class Reliability:
    """What the checks found; empty or None where they were not made.

    ``stability`` by kind of resample (``halves``, ``bootstrap``); ``confounds`` by tag, neuron for neuron as in the
    sets.
    """

    stability: Mapping[str, Stability]
    confounds: Mapping[str, tuple[Confounded, ...]] | None
    redundancy: Redundancy | None

    def metrics(self) -> dict[str, float]:
        """All of it that is a number, by MLflow names."""
        found: dict[str, float] = {}
        for kind, stable in self.stability.items():
            found[f"stability/{kind}/jaccard"] = stable.mean()
            found[f"stability/{kind}/expected_jaccard"] = stable.mean_expected()
            found |= {f"stability/{kind}/jaccard/{tag}": value for tag, value in stable.jaccard.items()}
            found |= {f"stability/{kind}/expected_jaccard/{tag}": value for tag, value in stable.expected.items()}
        if self.confounds is not None:
            every = [neuron.vanishes for of_tag in self.confounds.values() for neuron in of_tag]
            found["confounds/vanishing"] = float(sum(every))
            found["confounds/vanishing_fraction"] = float(np.mean(every))
        if self.redundancy is not None:
            found["redundancy/clusters"] = float(len(self.redundancy.clusters))
            found["redundancy/effective_dimension"] = self.redundancy.effective_dimension
            of_tags = self.redundancy.effective_dimension_by_tag
            found |= {f"redundancy/effective_dimension/{tag}": value for tag, value in of_tags.items()}
        return found


def check_reliability(
    checks: Checks,
    selection: Selection,
    read: ActivationReader,
    text: LabelledText,
    key: KeyNeurons,
    evidence: Evidence,
) -> Reliability:
    """Make the checks asked for, on the train words.

    Args:
        checks: which.
        selection: how the key neurons were selected.
        read: knows how many tokens the words have.
        text: the treebank and its labels.
        key: the key neurons.
        evidence: has their values on the train words.

    Returns:
        What they found.
    """
    labels, train, words = text.labels, text.treebank.splits["train"], text.labels.splits["train"]
    stable, confounded, redundant, scored = {}, None, None, key.words
    if checks.resamples:
        source = selection.source(scored)
        stable = resampled_stability(checks, selection, source, labels.names, scored.tags, scored.sentences)
    if checks.confounds and key.sets.union():
        features = word_features(train, words.rows, read.token_counts(train))
        confounded = confounds_of(key.sets, evidence.union, words.tags, labels.names, features)
    if checks.redundancy and np.ptp(evidence.union, axis=0).any():  # the lowest ranked may all be constant
        redundant = redundancy(key.sets, evidence.union)
    return Reliability(stable, confounded, redundant)


def resampled_stability(
    checks: Checks,
    selection: Selection,
    driver: Source,
    names: tuple[str, ...],
    tags: Int[ndarray, " words"],
    sentence_of_word: Int[ndarray, " words"],
) -> dict[str, Stability]:
    """How alike the sets are that other train sentences would give, by the same rule without its threshold.

    Halvings compare the two halves, bootstraps every pair of resamples. A tag with fewer than 2 words in a resample,
    or that the scorer refuses there, is left out of it. Kinds of resample that no tag survives are absent.
    """
    rule = replace(selection.rule, threshold="none")

    def sets_on(positions: Int[ndarray, " some"]) -> NeuronSets:
        counts = np.bincount(tags[positions], minlength=len(names))
        positions = positions[counts[tags[positions]] >= LEAST_WORDS]
        present, told = np.unique(tags[positions], return_inverse=True)
        there = [names[tag] for tag in present]
        if len(there) < 2:
            return NeuronSets(driver.site, driver.layers, driver.width, {})
        try:
            scores = selection.scores(driver.of_words(positions, len(there)), told)
        except TagError as error:
            return sets_on(positions[told != error.tag])
        return select(scores, there, rule)

    pairs: dict[str, list[tuple[NeuronSets, NeuronSets]]] = {"halves": [], "bootstrap": []}
    if checks.halves:
        halvings = split_halves(sentence_of_word, checks.halves, selection.seed)
        pairs["halves"] = [(sets_on(first), sets_on(second)) for first, second in halvings]
    if checks.bootstraps:
        resamples = bootstraps(sentence_of_word, checks.bootstraps, selection.seed)
        pairs["bootstrap"] = list(combinations(map(sets_on, resamples), 2))
    found = {kind: stability(of_kind) for kind, of_kind in pairs.items() if of_kind}
    return {kind: stable for kind, stable in found.items() if stable.jaccard}
