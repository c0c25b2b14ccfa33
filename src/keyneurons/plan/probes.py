"""The probes of a planned run, and the speed of their training on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from keyneurons.analysis.size_curve import grid_of_sizes
from keyneurons.build.components import build_probe_settings
from keyneurons.build.probing import build_controls
from keyneurons.config import schema
from keyneurons.pipeline.controls.control import Control
from keyneurons.progress import stage
from keyneurons.records import Split

EPOCHS = 10
"""Assumed epochs until a probe stops, as measured on the starter text and on UD EWT."""

WORDS = 2048
"""Train words of the trial."""

NEURONS = 15_000
"""Largest number of neurons of all probes of the trial together."""


@dataclass(frozen=True)
class Probes:
    """Probes of one purpose: their number, the neurons of each, and its classes."""

    purpose: str
    number: int
    neurons: int
    classes: int

    @property
    def weights(self) -> int:
        """Number of weights of all probes."""
        return self.number * self.neurons * self.classes


@dataclass(frozen=True)
class RunSizes:
    """Numbers of key neurons of a tag and of all tags, of all neurons, of layers and of tags."""

    per_tag: int
    key: int
    neurons: int
    layers: int
    tags: int


def planned_probes(config: schema.Config, sizes: RunSizes) -> tuple[Probes, ...]:
    """The probes of a run if none of their results are cached.

    Every tag has distinct key neurons in the plan, so the numbers are upper bounds.
    """
    controls = build_controls(config)
    evidence = list(_evidence(controls, sizes))
    probes = [*evidence, *_tags(config.per_tag.random_sets, sizes), *_curves(config, sizes, evidence)]
    if config.split == "unseen_words":
        probes += [Probes(f"unseen words: {p.purpose}", p.number, p.neurons, p.classes) for p in evidence]
    layers = sizes.layers
    single = RunSizes(sizes.per_tag, -(-sizes.key // layers), sizes.neurons // layers, 1, sizes.tags)
    once = {name: control for name, control in controls.items() if not reselections(control)}
    for at in config.layer_by_layer.read_at:
        own = _evidence(once, single)
        probes += [Probes(f"layer by layer, {at}: {p.purpose}", layers * p.number, p.neurons, p.classes) for p in own]
    return tuple(each for each in probes if each.weights)


def _evidence(controls: Mapping[str, Control], sizes: RunSizes) -> Iterator[Probes]:
    yield Probes("key neurons", 1, sizes.key, sizes.tags)
    for name, control in controls.items():
        number, neurons = control.trains(sizes.key, sizes.neurons)
        yield Probes(f"control.{name}", number, neurons, sizes.tags)


def _tags(random_sets: int, sizes: RunSizes) -> Iterator[Probes]:
    if random_sets:
        yield Probes("single tags", sizes.tags * (1 + random_sets), sizes.per_tag, 2)


def reselections(control: Control) -> int:
    """How often a control selects key neurons again: its ``draws``; single layers cannot."""
    return int(getattr(control, "draws", 0))


def _curves(config: schema.Config, sizes: RunSizes, evidence: Sequence[Probes]) -> Iterator[Probes]:
    """Random sets, those of highest variance, and the key neurons cut to each size below theirs.

    The probe on all neurons is that of a control, if there is such a control.
    """
    if not config.worth.sizes:
        return
    known = any(each.number == 1 and each.neurons == sizes.neurons for each in evidence)
    for size in grid_of_sizes(sizes.neurons, config.worth.sizes).tolist():
        number = int(not known) if size == sizes.neurons else config.worth.sets + 1 + (size < sizes.key)
        yield Probes(f"size {size}", number, size, sizes.tags)


@dataclass(frozen=True)
class ProbeSpeed:
    """Weights times words that a second of training takes, in an epoch."""

    per_second: float

    def seconds(self, probes: tuple[Probes, ...], train_words: int) -> float:
        """Time of training some probes for the assumed number of epochs."""
        return EPOCHS * train_words * sum(each.weights for each in probes) / self.per_second


def measure_probes(config: schema.Config, sizes: RunSizes) -> ProbeSpeed:
    """Time the training of probes on noise, on the device of the trainer, after a warm-up."""
    number = max(1, min(99, NEURONS // sizes.key))
    with stage("timing the training of probes"):
        _rate(config, sizes, WORDS // 8, 1)
        return ProbeSpeed(_rate(config, sizes, WORDS, number))


def _rate(config: schema.Config, sizes: RunSizes, train_words: int, number: int) -> float:
    """Weights times words per second of training some probes on noise."""
    from keyneurons.build.components import build_trainer
    from keyneurons.probe.fit import ProbeTask, train_probes

    rng = np.random.default_rng(0)
    words: dict[Split, int] = {"train": train_words, "dev": train_words // 8, "test": 8}
    width = min(sizes.neurons, 4 * sizes.key)
    features = {
        split: torch.from_numpy(rng.standard_normal((n, width), dtype=np.float32)) for split, n in words.items()
    }
    classes = {split: torch.from_numpy(rng.integers(0, sizes.tags, (1, n))) for split, n in words.items()}
    columns = np.stack([np.sort(rng.choice(width, sizes.key, replace=False)) for _ in range(number)])
    task, settings = (
        ProbeTask(columns, classes, sizes.tags),
        build_probe_settings(config.probe, config.activations.memory_mb),
    )
    started = time.perf_counter()
    (trained,) = train_probes(
        features, [task], settings=settings, trainer=lambda: build_trainer(config.trainer), seed=config.seed
    )
    return trained.epochs * train_words * columns.size * sizes.tags / (time.perf_counter() - started)
