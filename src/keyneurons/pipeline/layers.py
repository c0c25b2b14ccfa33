"""Results by layer: probes on the key neurons, tags as directions (CAV) or regions (CAR)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from keyneurons import metrics
from keyneurons.activations.reader import ActivationReader
from keyneurons.analysis.concepts import Concepts, concepts
from keyneurons.analysis.multiple_tests import adjusted_p_values
from keyneurons.choices import ReadAt
from keyneurons.data.word_features import sentence_of_rows
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.controls.control import Case
from keyneurons.pipeline.dataset import LabelledText
from keyneurons.pipeline.evidence import Evidence
from keyneurons.pipeline.probing import Probing, probe_key_neurons
from keyneurons.progress import stage
from keyneurons.records import SPLITS, Labels, NeuronSets, Treebank


@dataclass(frozen=True)
class LayerChecks:
    """Measurements in each layer by itself.

    A probe with all its controls is trained for each of ``read_at``. With ``concepts``, CAV and CAR
    of every tag are fitted on up to ``concept_words`` of its words, with ``concept_draws``
    permutations.
    """

    read_at: tuple[ReadAt, ...] = ()
    concepts: bool = False
    concept_words: int = 200
    concept_draws: int = 100


@dataclass(frozen=True)
class OneLayer:
    """Results of one layer: probe with controls, number of key neurons, concepts."""

    layer: int
    evidence: Evidence
    union_size: int
    concepts: Concepts | None

    @cached_property
    def metrics(self) -> Mapping[str, float]:
        """Metrics of the layer by the names of a run's metrics."""
        return {**self.evidence.metrics(), metrics.UNION_SIZE: float(self.union_size)}


@dataclass(frozen=True)
class Layers:
    """Results of single layers, the lowest first, by reading position."""

    read_at: Mapping[ReadAt, tuple[OneLayer, ...]]

    def metrics(self) -> dict[str, float]:
        """Summary metrics of the curves over the layers."""
        return {name: value for at, layers in self.read_at.items() for name, value in curve_metrics(at, layers).items()}


def without_first_words(labels: Labels, treebank: Treebank) -> Labels:
    """Drop the first word of every sentence, which cannot be read at its prediction.

    Args:
        labels: The labelled words.
        treebank: Their sentences.

    Returns:
        The remaining words. Tags with too few of them for a probe are dropped and listed in
        ``left_out``.

    Raises:
        ValueError: Fewer than two tags remain.
    """
    later = {}
    for split, words in labels.splits.items():
        firsts = np.cumsum([0, *(len(sentence.words) for sentence in treebank.splits[split])])
        later[split] = words.of(~np.isin(words.rows, firsts))
    counts = {split: np.bincount(words.tags, minlength=len(labels.names)) for split, words in later.items()}
    enough = (counts["train"] >= 2) & (counts["dev"] >= 1) & (counts["test"] >= 1)
    lost = {name: int(n) for name, n, fit in zip(labels.names, counts["train"], enough, strict=True) if not fit}
    names = tuple(name for name in labels.names if name not in lost)
    if len(names) < 2:
        raise ValueError(f"layer_by_layer needs two tags with words that do not begin a sentence, got {list(names)}")
    place = np.cumsum(enough) - 1
    kept = {split: words.of(enough[words.tags]) for split, words in later.items()}
    renumbered = {split: replace(words, tags=place[words.tags]) for split, words in kept.items()}
    return Labels(labels.column, names, renumbered, {**labels.left_out, **lost})


def measure_layers(
    checks: LayerChecks, read: ActivationReader, text: LabelledText, sets: NeuronSets, probing: Probing, seed: int
) -> Layers:
    """Measure each layer by itself for every reading position.

    Args:
        checks: The measurements.
        read: Reader of activations.
        text: The treebank and its labels; first words of sentences are dropped.
        sets: The key neurons.
        probing: The training of probes and the controls; single tags are not probed.
        seed: Seed of all random draws.

    Returns:
        The results by reading position.
    """
    if not checks.read_at:
        return Layers({})
    labels, probing = without_first_words(text.labels, text.treebank), replace(probing, tag_random_sets=0)
    sentences = sentence_of_rows(text.treebank.splits["test"], labels.splits["test"].rows)
    by_position = {}
    for at in checks.read_at:
        activations = StoredActivations.of(replace(read, read_at=at), text.treebank)
        by_position[at] = each_layer(activations, labels, sets, sentences, probing, checks, seed)
    return Layers(by_position)


def each_layer(
    activations: StoredActivations,
    labels: Labels,
    sets: NeuronSets,
    sentences: Int[ndarray, " test_words"],
    probing: Probing,
    checks: LayerChecks,
    seed: int,
) -> tuple[OneLayer, ...]:
    """Measure the key neurons of every layer that has any.

    Args:
        activations: The activations of all layers.
        labels: The labelled words.
        sets: The key neurons.
        sentences: The sentence of every test word.
        probing: The training of probes and the controls.
        checks: The measurements.
        seed: Seed of all random draws.

    Returns:
        One result per layer, the lowest first.
    """
    chosen = {layer: own for layer in sets.layers if (own := sets.of_layer(layer, labels.names)).union()}
    results = []
    with stage("layer by layer", total=len(chosen), unit="layers") as progress:
        for layer, own in chosen.items():
            arrays = {split: {layer: activations.arrays[split][layer]} for split in SPLITS}
            here = StoredActivations(arrays, activations.site, activations.device)
            case = Case(labels, here, own, sentences, seed, results=probing.results)
            evidence = probe_key_neurons(probing, case)
            fitted = _concepts(here, labels, own, checks, seed) if checks.concepts else None
            results.append(OneLayer(layer, evidence, len(own.union()), fitted))
            progress.advance()
    return tuple(results)


def _concepts(
    activations: StoredActivations, labels: Labels, sets: NeuronSets, checks: LayerChecks, seed: int
) -> Concepts | None:
    """Fit the concepts of all tags with enough train and test words.

    Returns None if fewer than two tags have enough, or if no key neuron varies.
    """
    train, test = labels.splits["train"], labels.splits["test"]
    enough = (labels.counts("train") >= 2) & (labels.counts("test") >= 1)
    names = [name for name, has in zip(labels.names, enough, strict=True) if has]
    if len(names) < 2:
        return None
    values = activations.columns(labels, np.array(sets.union(), dtype=np.int64))
    place = np.cumsum(enough) - 1

    fit, held_out = enough[train.tags], enough[test.tags]
    if not np.ptp(values["train"].numpy()[fit], axis=0).any():
        return None
    with stage("concepts"):
        return concepts(
            values["train"].numpy()[fit],
            place[train.tags[fit]],
            values["test"].numpy()[held_out],
            place[test.tags[held_out]],
            names,
            words=checks.concept_words,
            draws=checks.concept_draws,
            seed=seed,
        )


def layer_metrics(read_at: ReadAt, layers: Sequence[OneLayer]) -> dict[str, dict[int, float]]:
    """Every metric as a mapping from layer to value, p-values of controls also adjusted."""
    curves: dict[str, dict[int, float]] = {}
    for one in layers:
        values = [*one.metrics.items(), *_concept_metrics(one.concepts)]
        for name, value in values:
            curves.setdefault(f"layer/{read_at}/{name}", {})[one.layer] = value
    for name, adjusted in adjusted_over_layers(layers).items():
        curves[f"layer/{read_at}/{metrics.control_p_adjusted(name)}"] = adjusted
    return curves


def adjusted_over_layers(layers: Sequence[OneLayer]) -> dict[str, dict[int, float]]:
    """p-values of each control in every layer, after Benjamini-Hochberg over the layers."""
    p_values: dict[str, dict[int, float]] = {}
    for one in layers:
        for name in one.evidence.controls:
            if (p_value := one.metrics.get(metrics.control_p_value(name))) is not None:
                p_values.setdefault(name, {})[one.layer] = p_value
    return {name: adjusted_p_values(by_layer) for name, by_layer in p_values.items()}


def curve_metrics(read_at: ReadAt, layers: Sequence[OneLayer]) -> dict[str, float]:
    """Summary metrics of the curves over the layers.

    They are the best layer on dev and its test accuracy, the share of layers where the key neurons
    are better than each control after correction for the number of layers, and the mean differences
    to the controls.
    """
    if not layers:
        return {}
    best = max(layers, key=lambda one: one.metrics[metrics.DEV_ACCURACY])  # never chosen on the test words
    values = {"best_layer": float(best.layer), "best_test_accuracy": best.metrics[metrics.ACCURACY]}
    for control in layers[0].evidence.controls.values():
        if control.contrast is not None:
            mean = np.mean([one.metrics[control.contrast] for one in layers])
            values[f"mean_{control.contrast.removeprefix('probe/')}"] = float(mean)
    for name, adjusted in adjusted_over_layers(layers).items():
        better = np.array(list(adjusted.values())) <= metrics.ALPHA
        values[f"share_better_than_{name}"] = float(better.mean())
    return {f"layers/{read_at}/{name}": value for name, value in values.items()}


def _concept_metrics(fitted: Concepts | None) -> Iterator[tuple[str, float]]:
    if fitted is None:
        return
    for kind, tests in {"cav": fitted.direction, "car": fitted.region}.items():
        for tag, test in tests.items():
            yield f"{kind}/accuracy/{tag}", test.accuracy
            yield f"{kind}/p_value/{tag}", test.p_value
