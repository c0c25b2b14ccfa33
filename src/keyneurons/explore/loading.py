"""Loads finished runs of one model with their probes, for the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from keyneurons.activations.reader import ActivationReader
from keyneurons.analysis.controls import matched_random_sets
from keyneurons.arrays import Stored
from keyneurons.artifacts.bound import Binding
from keyneurons.artifacts.key_neurons import sets_in
from keyneurons.artifacts.probe import PROBE_FILE, read_probe_of
from keyneurons.build.probing import build_training
from keyneurons.config.schema import Config
from keyneurons.pipeline.activations import Activations, StoredActivations, read_activations
from keyneurons.pipeline.neuron_profile import DevText
from keyneurons.pipeline.probes import TrainedProbe, Training
from keyneurons.probe.fit import ProbeTask
from keyneurons.records import Labels, NeuronSets
from keyneurons.runs.reload import Rebuilt, rebuild


@dataclass(frozen=True)
class NamedProbe:
    """A probe on some neurons, with its accuracy on the test words."""

    name: str
    probe: TrainedProbe
    accuracy: float


@dataclass(frozen=True)
class LoadedRun:
    """A finished run: reader, key neurons, probes, and activations of the dev words by layer."""

    name: str
    id: str
    method: str
    read: ActivationReader
    sets: NeuronSets
    tags: tuple[str, ...]
    probes: tuple[NamedProbe, ...]
    dev: DevText
    activations: Mapping[int, Float[Stored, "dev_words neurons"]]
    seed: int

    @property
    def tags_with_neurons(self) -> tuple[str, ...]:
        """The tags that have key neurons."""
        return tuple(tag for tag in self.sets if self.sets.tags[tag])


def load_runs(
    which: Sequence[str], overrides: Sequence[str], compose: Callable[[Sequence[str]], Config]
) -> tuple[LoadedRun, ...]:
    """Load runs of one model; the model's weights are shared.

    Args:
        which: MLflow ids of runs, or their folders under ``outputs/``.
        overrides: overrides of ``tracking``, ``cache`` and ``model.device``.
        compose: returns the validated configuration with some overrides.

    Returns:
        The runs, with probes on random and on all neurons trained as the run's own.

    Raises:
        ValueError: a run does not exist, has no probe, or is of another model than the first.
    """
    rebuilt: list[Rebuilt] = []
    for each in dict.fromkeys(which):
        new = rebuild(each, overrides, compose)
        if rebuilt:
            _check_same_model(rebuilt[0], new)
            new = replace(new, read=replace(new.read, model=rebuilt[0].read.model))
        new.run.file(PROBE_FILE)  # raises before anything is loaded
        rebuilt.append(new)
    model = rebuilt[0].read.model
    if model.family.causal and model.family.norm is not None:
        _ = model.predictor  # shares its weights with the base model that reads activations
    return tuple(map(_load, rebuilt))


def _check_same_model(first: Rebuilt, other: Rebuilt) -> None:
    """Check that two runs read one model.

    Raises:
        ValueError: they do not.
    """
    bound = [Binding.of(each.read, each.key["tag_column"]) for each in (first, other)]
    for name in ("model", "revision", "tokenizer", "random_weights"):
        a, b = (getattr(each, name) for each in bound)
        if a != b:
            raise ValueError(
                f"explore needs runs of one model; {name} is {a} in run {first.run.name} ({first.run.id}) and {b} in "
                f"run {other.run.name} ({other.run.id})"
            )


def _load(rebuilt: Rebuilt) -> LoadedRun:
    config, read, labels = rebuilt.run.config(), rebuilt.read, rebuilt.labels
    sets = replace(sets_in(rebuilt.key)[1], layers=read.layers)
    key = read_probe_of(sets, labels.names, rebuilt.run.file(PROBE_FILE))
    activations = read_activations(read, rebuilt.treebank, store=config.activations.store)
    probes = (
        NamedProbe("key neurons", key, _accuracy(key, activations, labels)),
        *_train_controls(key, sets, activations, labels, build_training(config)),
    )
    dev = DevText.of(rebuilt.treebank, labels)
    stored = activations.arrays["dev"] if isinstance(activations, StoredActivations) else read(dev.sentences, "dev")
    method = str(rebuilt.key["method"])
    return LoadedRun(
        rebuilt.run.name, rebuilt.run.id, method, read, sets, labels.names, probes, dev, stored, rebuilt.seed
    )


def _train_controls(
    key: TrainedProbe, sets: NeuronSets, activations: Activations, labels: Labels, train: Training
) -> list[NamedProbe]:
    """Probes on the run's first matched random set and, if they are stored, on all neurons."""
    width, n_layers = sets.neurons_per_layer, len(sets.layers)
    columns = {"random neurons": matched_random_sets(key.columns.tolist(), width, n_layers, 1, train.seed)}
    if isinstance(activations, StoredActivations):
        columns["all neurons"] = np.arange(n_layers * width)[None]
    needed = np.unique(np.concatenate([each.ravel() for each in columns.values()]))
    classes = {split: torch.as_tensor(words.tags).long()[None] for split, words in labels.splits.items()}
    tasks = [ProbeTask(np.searchsorted(needed, each), classes, len(labels.names)) for each in columns.values()]
    trained = train(activations.rows(labels, needed), tasks)
    return [
        NamedProbe(
            name, TrainedProbe.of(own[0], result), float((result.test_predictions == classes["test"]).double().mean())
        )
        for (name, own), result in zip(columns.items(), trained, strict=True)
    ]


def _accuracy(probe: TrainedProbe, activations: Activations, labels: Labels) -> float:
    """Share of the test words whose tag the probe predicts."""
    predicted = probe(activations.columns(labels, probe.columns)["test"].float()).argmax(dim=1).numpy()
    return float((predicted == labels.splits["test"].tags).mean())
