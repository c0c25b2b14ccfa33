"""Every layer by itself: what its key neurons are worth, and whether tags are directions or regions among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from tqdm import tqdm

from keyneurons import metrics
from keyneurons.activations.reader import ActivationReader
from keyneurons.analysis.concepts import Concepts, concepts
from keyneurons.choices import ReadAt
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.controls.control import Case
from keyneurons.pipeline.dataset import LabelledText
from keyneurons.pipeline.evidence import Evidence
from keyneurons.pipeline.probing import Probing, probe_key_neurons
from keyneurons.records import SPLITS, Labels, NeuronSets, Treebank


@dataclass(frozen=True)
class LayerChecks:
    """What is measured in every layer by itself.

    A probe with all its controls where words are read at each of ``read_at``, and with ``concepts`` CAV and CAR of
    every tag on up to ``concept_words`` of its words, with ``concept_draws`` permutations.
    """

    read_at: tuple[ReadAt, ...] = ()
    concepts: bool = False
    concept_words: int = 200
    concept_draws: int = 100


@dataclass(frozen=True)
class OneLayer:
    """What one layer yields: its key neurons beside the controls, how many they are, the concepts of its tags."""

    layer: int
    evidence: Evidence
    union_size: int
    concepts: Concepts | None

    @cached_property
    def metrics(self) -> Mapping[str, float]:
        """By the names that they have in a run."""
        return {**self.evidence.metrics(), metrics.UNION_SIZE: float(self.union_size)}


@dataclass(frozen=True)
class Layers:
    """The layers one by one, the lowest first, where words are read at each place."""

    read_at: Mapping[ReadAt, tuple[OneLayer, ...]]

    def metrics(self) -> dict[str, float]:
        """What the curves over the layers come to."""
        return {name: value for at, layers in self.read_at.items() for name, value in curve_metrics(at, layers).items()}


def without_first_words(labels: Labels, treebank: Treebank) -> Labels:
    """The words that can be read at the word and at the prediction alike.

    Args:
        labels: labelled words.
        treebank: their sentences.

    Returns:
        Those that are not the first of their sentence; a tag that loses what a probe needs is left out, and named.

    Raises:
        ValueError: fewer than two tags are left.
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
    told = {split: replace(words, tags=place[words.tags]) for split, words in kept.items()}
    return Labels(labels.column, names, told, {**labels.left_out, **lost})


def measure_layers(
    checks: LayerChecks, read: ActivationReader, text: LabelledText, sets: NeuronSets, probing: Probing, seed: int
) -> Layers:
    """Measure every layer by itself at every place where words are read.

    Args:
        checks: what is measured.
        read: reads the activations.
        text: the treebank and its labels; first words of sentences are left out.
        sets: the key neurons.
        probing: how probes are trained and beside which controls; tags are not measured one by one.
        seed: of all draws.

    Returns:
        The layers.
    """
    if not checks.read_at:
        return Layers({})
    labels, probing = without_first_words(text.labels, text.treebank), replace(probing, tag_random_sets=0)
    found = {}
    for at in checks.read_at:
        activations = StoredActivations.of(replace(read, read_at=at), text.treebank)
        found[at] = each_layer(activations, labels, sets, probing, checks, seed)
    return Layers(found)


def each_layer(
    activations: StoredActivations,
    labels: Labels,
    sets: NeuronSets,
    probing: Probing,
    checks: LayerChecks,
    seed: int,
) -> tuple[OneLayer, ...]:
    """Measure the key neurons of every layer that has some.

    Args:
        activations: those of all layers.
        labels: the labelled words.
        sets: the key neurons.
        probing: how probes are trained, and beside which controls.
        checks: what is measured.
        seed: of all draws.

    Returns:
        The layers, the lowest first.
    """
    found = []
    for layer in tqdm(sets.layers, desc="layer by layer", leave=False, disable=None):
        own = sets.of_layer(layer, labels.names)
        if not own.union():
            continue
        arrays = {split: {layer: activations.arrays[split][layer]} for split in SPLITS}
        here = StoredActivations(arrays, activations.site, activations.device)
        evidence = probe_key_neurons(probing, Case(labels, here, own, seed))
        told = _concepts(here, labels, own, checks, seed) if checks.concepts else None
        found.append(OneLayer(layer, evidence, len(own.union()), told))
    return tuple(found)


def _concepts(
    activations: StoredActivations, labels: Labels, sets: NeuronSets, checks: LayerChecks, seed: int
) -> Concepts | None:
    """Concepts of the tags that have words to fit on and words to be tested on.

    None where fewer than two have, or where no key neuron varies.
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
    """Every measure by layer, under the name of its metric."""
    found: dict[str, dict[int, float]] = {}
    for one in layers:
        told = [*one.metrics.items(), *_of_concepts(one.concepts)]
        for name, value in told:
            found.setdefault(f"layer/{read_at}/{name}", {})[one.layer] = value
    return found


def curve_metrics(read_at: ReadAt, layers: Sequence[OneLayer]) -> dict[str, float]:
    """What the curve over the layers comes to.

    The layer that is best on dev, in how many layers the key neurons beat the draws of each control, and means of the
    differences.
    """
    if not layers:
        return {}
    best = max(layers, key=lambda one: one.metrics[metrics.DEV_ACCURACY])  # the test words are not to choose it
    found = {"best_layer": float(best.layer), "best_test_accuracy": best.metrics[metrics.ACCURACY]}
    for name, control in layers[0].evidence.controls.items():
        if control.contrast is not None:
            mean = np.mean([one.metrics[control.contrast] for one in layers])
            found[f"mean_{control.contrast.removeprefix('probe/')}"] = float(mean)
        if control.spread is not None:
            p_values = np.array([one.metrics[metrics.control_p_value(name)] for one in layers])
            found[f"share_better_than_{name}"] = float((p_values <= metrics.ALPHA).mean())
    return {f"layers/{read_at}/{name}": value for name, value in found.items()}


def _of_concepts(found: Concepts | None) -> Iterator[tuple[str, float]]:
    if found is None:
        return
    for kind, tests in {"cav": found.direction, "car": found.region}.items():
        for tag, test in tests.items():
            yield f"{kind}/accuracy/{tag}", test.accuracy
            yield f"{kind}/p_value/{tag}", test.p_value
