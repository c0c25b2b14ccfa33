"""One experiment: what it needs, what it finds, and the order of its stages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from keyneurons.activations.alignment import ReadAt
from keyneurons.activations.reader import ActivationReader
from keyneurons.analysis.confounds import confounds_of
from keyneurons.analysis.overlap import overlap
from keyneurons.analysis.redundancy import redundancy
from keyneurons.attribution.reader import AttributionReader
from keyneurons.data.digests import treebank_digest
from keyneurons.data.unseen_words import keep_types_apart
from keyneurons.data.word_features import word_features
from keyneurons.pipeline.activations import Activations, StoredActivations, StreamedActivations
from keyneurons.pipeline.dataset import Dataset
from keyneurons.pipeline.key_neurons import Selection, find_key_neurons
from keyneurons.pipeline.layers import LayerChecks, OneLayer, curve_metrics, each_layer, without_first_words
from keyneurons.pipeline.lesions.plan import LesionStudy
from keyneurons.pipeline.lesions.results import LesionResult
from keyneurons.pipeline.lesions.study import study_lesions
from keyneurons.pipeline.measures import attribution_metrics, data_metrics, lesion_metrics, set_metrics
from keyneurons.pipeline.probes import KeyProbe, probe_of_all
from keyneurons.pipeline.probing import Evidence, gather_evidence
from keyneurons.pipeline.reliability import Checks, Reliability, resampled_stability
from keyneurons.pipeline.scored_words import ScoredWords, activated_words, attributed_words
from keyneurons.records import SPLITS, Labels, NeuronSets, Overlap, Scores, Treebank

if TYPE_CHECKING:
    from lightning import Trainer

    from keyneurons.probe.fit import ProbeSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Experiment:
    """Everything that one run needs.

    ``method`` names the scorer in records; with ``attribute`` neurons are scored by what they add to the prediction of
    words, not by their activations; ``unseen_share`` of the word types go to test alone where the run is also to be
    measured on unseen words; without ``store`` activations are read anew whenever they are needed; ``trainer`` makes a
    Lightning trainer when the probes are trained.
    """

    dataset: Dataset
    read: ActivationReader
    store: bool
    attribute: AttributionReader | None
    selection: Selection
    method: str
    checks: Checks
    unseen_share: float | None
    probe: ProbeSettings
    trainer: Callable[[], Trainer]
    random_sets: int
    own_random_sets: int
    all_neurons: bool
    layers: LayerChecks
    lesions: LesionStudy | None
    seed: int

    def scored_words(self, treebank: Treebank, labels: Labels, activations: Activations) -> ScoredWords:
        """What the scorer sees of the train words."""
        if self.attribute is None:
            return activated_words(activations, labels, treebank)
        return attributed_words(self.attribute, labels, treebank, store=self.store, seed=self.seed)


@dataclass(frozen=True)
class Result:
    """What one run found.

    ``residuals`` says how far attributions are from complete; ``layers`` what every layer yields by itself.
    """

    experiment: Experiment
    treebank: Treebank
    treebank_digest: str
    labels: Labels
    scores: Scores
    sets: NeuronSets
    overlap: Overlap
    evidence: Evidence
    reliability: Reliability
    residuals: Mapping[str, float]
    layers: Mapping[ReadAt, tuple[OneLayer, ...]]
    lesions: LesionResult | None
    metrics: Mapping[str, float]


def run_experiment(experiment: Experiment) -> Result:
    """Read, score, select, compare, probe and check.

    Args:
        experiment: what to do with what.

    Returns:
        All findings.

    Raises:
        ValueError: the data, the activations or the scores do not allow it; the message says why.
    """
    treebank, labels, activations = read_dataset(experiment)
    later = without_first_words(labels, treebank) if experiment.layers.read_at else labels
    words, scores, sets, evidence = find_and_test(experiment, treebank, activations, labels)
    shared = overlap(sets)
    reliability = check_reliability(experiment, treebank, labels, words, sets, evidence)
    metrics = {**evidence.metrics, **set_metrics(sets, shared), **data_metrics(treebank, labels)}
    metrics |= reliability.metrics()
    if experiment.attribute is not None:
        metrics |= attribution_metrics(words)
    if experiment.unseen_share is not None:
        apart = keep_types_apart(labels, experiment.unseen_share, experiment.dataset.min_words_per_tag, experiment.seed)
        log.info("words of unseen types: %d in test", len(apart.splits["test"].rows))
        *_, unseen = find_and_test(experiment, treebank, activations, apart)
        metrics |= {f"unseen_words/{name}": value for name, value in unseen.metrics.items()}
        metrics["unseen_words/data/tags"] = float(len(apart.names))
        metrics["unseen_words/data/test_words"] = float(len(apart.splits["test"].rows))
    layers = {at: layer_by_layer(experiment, treebank, later, sets, at) for at in experiment.layers.read_at}
    for read_at, found in layers.items():
        metrics |= curve_metrics(read_at, found)
    lesions = lesion(experiment, treebank, labels, activations, scores, sets)
    if lesions is not None:
        metrics |= lesion_metrics(lesions)
    return Result(
        experiment,
        treebank,
        treebank_digest(treebank),
        labels,
        scores,
        sets,
        shared,
        evidence,
        reliability,
        words.residuals,
        layers,
        lesions,
        dict(sorted(metrics.items())),
    )


def read_dataset(experiment: Experiment) -> tuple[Treebank, Labels, Activations]:
    """The treebank, its labelled words, and their activations: in the cache when this returns, if they are stored."""
    treebank = experiment.dataset.load(experiment.read)
    labels = experiment.dataset.label(treebank, first_words=experiment.read.read_at == "word")
    log.info("%s: %d tags, %d train words", treebank.id, len(labels.names), len(labels.splits["train"].rows))
    if experiment.lesions is not None:
        experiment.lesions.check_tags(labels.names)  # refused before the first pass
    if experiment.store:
        return treebank, labels, StoredActivations.of(experiment.read, treebank)
    for split in SPLITS:
        experiment.read.encode(treebank.splits[split])  # refused before the first pass
    return treebank, labels, StreamedActivations(experiment.read, treebank)


def find_and_test(
    experiment: Experiment, treebank: Treebank, activations: Activations, labels: Labels
) -> tuple[ScoredWords, Scores, NeuronSets, Evidence]:
    """The key neurons by the train words, and what they are worth on the test words."""
    words = experiment.scored_words(treebank, labels, activations)
    scores, sets = find_key_neurons(experiment.selection, words)
    evidence = gather(experiment, activations, labels, sets, experiment.own_random_sets)
    return words, scores, sets, evidence


def gather(
    experiment: Experiment, activations: Activations, labels: Labels, sets: NeuronSets, own_random_sets: int
) -> Evidence:
    """Train and test the probes and their controls."""
    return gather_evidence(
        activations,
        labels,
        sets,
        settings=experiment.probe,
        trainer=experiment.trainer,
        random_sets=experiment.random_sets,
        own_random_sets=own_random_sets,
        all_neurons=experiment.all_neurons,
        seed=experiment.seed,
    )


def layer_by_layer(
    experiment: Experiment, treebank: Treebank, labels: Labels, sets: NeuronSets, read_at: ReadAt
) -> tuple[OneLayer, ...]:
    """Measure the key neurons of every layer by itself."""
    activations = StoredActivations.of(replace(experiment.read, read_at=read_at), treebank)

    def of_layer(here: StoredActivations, own: NeuronSets) -> Evidence:
        return gather(experiment, here, labels, own, 0)

    return each_layer(activations, labels, sets, of_layer, experiment.layers, experiment.seed)


def lesion(
    experiment: Experiment,
    treebank: Treebank,
    labels: Labels,
    activations: Activations,
    scores: Scores,
    sets: NeuronSets,
) -> LesionResult | None:
    """Lesion the key neurons in the model, if that is asked for."""
    if experiment.lesions is None or not isinstance(activations, StoredActivations):
        return None
    study, read, seed = experiment.lesions, experiment.read, experiment.seed
    chosen = sets if study.neurons is None else study.neurons

    def probe_of(later: StoredActivations) -> KeyProbe:
        width = read.model.width(later.site)
        return probe_of_all(later, labels, width, settings=experiment.probe, trainer=experiment.trainer, seed=seed)

    return study_lesions(study, read, treebank, labels, activations, scores, chosen, probe_of, seed)


def check_reliability(
    experiment: Experiment,
    treebank: Treebank,
    labels: Labels,
    scored: ScoredWords,
    sets: NeuronSets,
    evidence: Evidence,
) -> Reliability:
    """Make the checks asked for, on the train words."""
    checks, selection, words = experiment.checks, experiment.selection, labels.splits["train"]
    train = treebank.splits["train"]
    stable, confounded, redundant = {}, None, None
    if checks.resamples:
        source = selection.source(scored)
        stable = resampled_stability(checks, selection, source, labels.names, scored.tags, scored.sentences)
    if checks.confounds and sets.union():
        features = word_features(train, words.rows, experiment.read.token_counts(train))
        confounded = confounds_of(sets, evidence.union, words.tags, labels.names, features)
    if checks.redundancy and np.ptp(evidence.union, axis=0).any():  # the lowest ranked may all be constant
        redundant = redundancy(sets, evidence.union)
    return Reliability(stable, confounded, redundant)
