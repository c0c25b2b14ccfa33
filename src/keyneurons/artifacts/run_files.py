"""The result files in a run's folder; MLflow stores them under the same names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from keyneurons.analysis.confounds import Confounded
from keyneurons.analysis.run_differences import Predictions
from keyneurons.artifacts.basis import BASIS_FILE, write_components
from keyneurons.artifacts.bound import Binding
from keyneurons.artifacts.key_neurons import KEY_NEURONS_FILE, write_key_neurons
from keyneurons.artifacts.layers import write_layers
from keyneurons.artifacts.lesions import write_lesions
from keyneurons.artifacts.metrics import write_curves, write_metrics
from keyneurons.artifacts.overlap import write_overlap
from keyneurons.artifacts.predictions import PREDICTIONS_FILE, write_predictions
from keyneurons.artifacts.probe import PROBE_FILE, write_probe
from keyneurons.artifacts.redundancy import REDUNDANCY_FILE, write_redundancy
from keyneurons.artifacts.run_tables import write_run_tables
from keyneurons.artifacts.scores import SCORES_FILE, write_scores
from keyneurons.artifacts.tables import write_matrix
from keyneurons.basis.linear import Linear
from keyneurons.data.word_features import sentence_of_rows
from keyneurons.digests import json_digest, texts_digest
from keyneurons.pipeline.dataset import LabelledText
from keyneurons.pipeline.evidence import KeyNeuronsProbe
from keyneurons.pipeline.experiment import Experiment, Result
from keyneurons.pipeline.given_sets import GivenSets
from keyneurons.pipeline.layers import layer_metrics
from keyneurons.records import NeuronSets

CONFUSION_FILE = "confusion.csv"


def write_run_files(result: Result, folder: Path) -> None:
    """Write all results of a run except figures and summary."""
    text, sets, probed = result.text, result.key_neurons.sets, result.evidence.key_neurons
    names, method = text.labels.names, result.experiment.method
    dataset, confounds = {"id": text.treebank.id, "digest": text.digest}, result.reliability.confounds
    write_run_sets(folder / KEY_NEURONS_FILE, result.experiment, dataset, text.labels.column, sets, confounds)
    write_basis(folder, result.experiment)
    write_overlap(folder, result.overlap)
    write_run_tables(folder, sets, result.overlap, result.evidence, text.labels)
    if probed is not None:
        write_matrix(folder / CONFUSION_FILE, names, probed.scores.confusion)
        write_probe(folder / PROBE_FILE, probed.probe, sets, names, method)
        write_predictions(folder / PREDICTIONS_FILE, _predictions(text, probed))
    if result.reliability.redundancy is not None:
        write_redundancy(folder / REDUNDANCY_FILE, result.reliability.redundancy, sets)
    write_metrics(folder, result.metrics)
    if result.key_neurons.scores is not None:
        write_scores(folder / SCORES_FILE, result.key_neurons.scores, names, method, sets.basis)
    if curves := _curves(result):
        write_curves(folder, curves)
    for read_at, layers in result.layers.read_at.items():
        write_layers(folder, read_at, layers)
    if result.lesions is not None:
        write_lesions(folder, result.lesions)


def write_basis(folder: Path, experiment: Experiment) -> None:
    """Write the basis that an experiment has fitted, if any."""
    basis = experiment.read.basis
    if isinstance(basis, Linear) and basis.name == "pca":
        write_components(folder / BASIS_FILE, basis, experiment.read.site)


def write_run_sets(
    path: Path,
    experiment: Experiment,
    dataset: Mapping[str, str],
    column: str,
    sets: NeuronSets,
    confounds: Mapping[str, Sequence[Confounded]] | None = None,
) -> None:
    """Write the key neurons that an experiment selected.

    Args:
        path: the file.
        experiment: the experiment.
        dataset: id and digest of the text.
        column: column of the tags.
        sets: the key neurons.
        confounds: correlations of each key neuron with surface features, if computed.
    """
    settings: dict[str, Any] = {**asdict(experiment.selection.rule), "seed": experiment.seed}
    if isinstance(experiment.selection, GivenSets):
        origin = asdict(experiment.selection.origin)
        settings["source"] = {name: value for name, value in origin.items() if name != "name"}
    if experiment.attribute is not None:
        settings = {"scored_at": "prediction", "attribution": experiment.attribute.method.record(), **settings}
    write_key_neurons(
        path,
        Binding.of(experiment.read, column),
        sets.tags,
        dataset=dataset,
        layers=sets.layers,
        read_at=experiment.read.read_at,
        method=experiment.method,
        settings=settings,
        confounds=confounds,
    )


def sets_digest(sets: NeuronSets) -> str:
    """Digest of the neurons selected for every tag, independent of scores and order."""
    tags = {tag: sorted((n.layer, n.neuron) for n in neurons) for tag, neurons in sets.tags.items()}
    place = [sets.site] if sets.basis == "neurons" else [sets.site, sets.basis]
    return json_digest([*place, tags])[:16]


def _predictions(text: LabelledText, probed: KeyNeuronsProbe) -> Predictions:
    words, sentences = text.labels.splits["test"], text.treebank.splits["test"]
    sentence = sentence_of_rows(sentences, words.rows)
    return Predictions(text.labels.names, words.rows, sentence, words.tags, probed.predicted, texts_digest(sentences))


def _curves(result: Result) -> dict[str, dict[int, float]]:
    """Loss by epoch, every metric by layer, and the completeness error of attributions by layer."""
    read_at, residuals = result.layers.read_at, result.key_neurons.words.residuals
    curves = {name: curve for at, layers in read_at.items() for name, curve in layer_metrics(at, layers).items()}
    if (probed := result.evidence.key_neurons) is not None and probed.curve is not None:
        curves |= probed.curve.by_epoch()
    by_layer = {int(name.removeprefix("layer_")): value for name, value in residuals.items() if name != "joint"}
    return curves | ({"layer/attribution/residual": by_layer} if by_layer else {})
