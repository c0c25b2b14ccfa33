"""Results of the probes on the key neurons, on every control and for every tag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from keyneurons import metrics
from keyneurons.analysis.controls import empirical_p_value
from keyneurons.analysis.sentence_bootstrap import Difference, Estimate, SentenceBootstrap
from keyneurons.choices import ControlRole
from keyneurons.pipeline.per_tag import TagProbe, per_tag_metrics
from keyneurons.pipeline.probes import TrainedProbe
from keyneurons.records import Labels

if TYPE_CHECKING:
    from keyneurons.probe.curve import LearningCurve
    from keyneurons.probe.fit import ProbeResults
    from keyneurons.probe.metrics import ClassificationMetrics


@dataclass(frozen=True)
class KeyNeuronsProbe:
    """The trained probe on the key neurons: scores, predictions for test words, curve by epoch."""

    scores: ClassificationMetrics
    predicted: Int[ndarray, " words"]
    correct: Bool[ndarray, " words"]
    dev_accuracy: float
    epochs: float
    probe: TrainedProbe
    curve: LearningCurve | None = None

    @classmethod
    def of(cls, columns: Int[ndarray, " neurons"], trained: ProbeResults, labels: Labels) -> KeyNeuronsProbe:
        """Build the record from the first of several trained probes."""
        from keyneurons.probe.metrics import classification_metrics

        test = torch.as_tensor(labels.splits["test"].tags).long()
        scores = classification_metrics(trained.test_predictions[0], test, len(labels.names))
        correct = (trained.test_predictions[0] == test).numpy()
        dev, epochs = float(trained.dev_accuracy[0]), float(trained.best_epoch[0])
        predicted = trained.test_predictions[0].numpy()
        return cls(scores, predicted, correct, dev, epochs, TrainedProbe.of(columns, trained), trained.curve)

    def metrics(self, names: tuple[str, ...]) -> dict[str, float]:
        """Metrics by their MLflow names; ``names`` are the tags in order."""
        overall = {
            metrics.ACCURACY: self.scores.accuracy,
            metrics.MACRO_F1: self.scores.macro_f1,
            metrics.DEV_ACCURACY: self.dev_accuracy,
            "probe/epochs": self.epochs,
        }
        return overall | {f"probe/test_f1/{tag}": float(f1) for tag, f1 in zip(names, self.scores.f1, strict=True)}


@dataclass(frozen=True)
class ControlResult:
    """The test words that a control gets right, one row per draw.

    ``baseline`` has the random sets of each draw, for controls that select neurons of their own.
    Label, contrast and role are those of the control, facts and note those of its trial.
    """

    label: str
    contrast: str | None
    role: ControlRole | None
    correct: Bool[ndarray, "draws words"]
    baseline: Bool[ndarray, "draws sets words"] | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @cached_property
    def accuracy(self) -> Float[ndarray, " draws"]:
        """Accuracy of every draw."""
        accuracies: ndarray = self.correct.mean(axis=1)
        return accuracies

    @property
    def mean(self) -> float:
        """Mean accuracy over the draws."""
        return float(self.accuracy.mean())

    @property
    def spread(self) -> float | None:
        """Standard deviation over the draws; None for a single draw."""
        return float(self.accuracy.std(ddof=1)) if len(self.accuracy) > 1 else None

    def least_p(self, key_accuracy: float) -> float:
        """Empirical p-value of the key neurons among random sets; 0 for other controls."""
        return empirical_p_value(key_accuracy, self.accuracy) if self.role == "random" else 0.0

    def metrics(self, name: str, difference: Difference | None) -> dict[str, float]:
        """Metrics by their MLflow names; ``difference`` is that to the key neurons, if any."""
        values = {metrics.control_accuracy(name): self.mean}
        if self.spread is not None:
            values[metrics.control_spread(name)] = self.spread
        values |= {f"control/{name}/{fact}": value for fact, value in self.facts.items()}
        if difference is not None:
            values |= difference.metrics(self.contrast or metrics.control_difference(name))
            values[metrics.control_p_value(name)] = difference.p_value
            if difference.z is not None:
                values[metrics.control_z(name)] = difference.z
        return values


@dataclass(frozen=True)
class Evidence:
    """The probe on the key neurons, its controls by name, and the probes of single tags.

    ``union`` holds the activations of all key neurons on the train words. Without key neurons there
    is no probe, and only the controls that do not depend on them are measured. ``skipped`` has the
    reasons why other controls were not measured. ``unseen`` marks the test words whose type train
    lacks.
    """

    names: tuple[str, ...]
    key_neurons: KeyNeuronsProbe | None
    controls: Mapping[str, ControlResult]
    per_tag: Mapping[str, TagProbe]
    union: Float[ndarray, "words features"]
    bootstrap: SentenceBootstrap
    unseen: Bool[ndarray, " test_words"]
    skipped: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def accuracy(self) -> Estimate | None:
        """Accuracy of the key neurons with its interval; None without key neurons."""
        if self.key_neurons is None:
            return None
        correct = self.key_neurons.correct
        return Estimate.of(correct.mean(), self.bootstrap.means(correct[None])[:, 0])

    @cached_property
    def differences(self) -> Mapping[str, Difference]:
        """Accuracy of the key neurons minus that of each control; specificity for ``labels``."""
        differences = {name: self.difference(control) for name, control in self.controls.items()}
        return {name: each for name, each in differences.items() if each is not None}

    def of_role(self, role: ControlRole) -> dict[str, ControlResult]:
        """The controls of a role."""
        return {name: control for name, control in self.controls.items() if control.role == role}

    def difference(self, control: ControlResult, words: Bool[ndarray, " words"] | None = None) -> Difference | None:
        """Compare the key neurons with a control, on all test words or on some.

        A resample takes one draw of the control at random, so the interval covers sentences and
        draws: it is that of the difference to one such set. A control with baselines is compared by
        the advantage over random sets: ``(key - random) - (control - its random)``.

        Returns:
            The difference; None without key neurons, or without random sets if they are needed.
        """
        if self.key_neurons is None:
            return None
        everywhere = words is None
        words = np.ones(len(self.unseen), dtype=bool) if words is None else words
        if not words.any():
            return None
        key, boot = self.key_neurons.correct, self.bootstrap
        value = key[words].mean() - control.correct[:, words].mean()
        chosen = boot.draw(len(control.correct))
        resampled = boot.means(key[None], words)[:, 0] - _taken(boot.means(control.correct, words), chosen)
        if control.baseline is not None:
            random = next(iter(self.of_role("random").values()), None)
            if random is None:
                return None
            value += control.baseline[:, :, words].mean() - random.correct[:, words].mean()
            resampled = resampled - boot.one_of(boot.means(random.correct, words), stream=1)
            n_sets = control.baseline.shape[1]
            own = boot.means(control.baseline.reshape(-1, len(words)), words)
            resampled = resampled + _taken(own, chosen * n_sets + boot.draw(n_sets, stream=2))
        z = float(value / control.spread) if control.role == "random" and control.spread else None
        least_p = control.least_p(float(key.mean())) if everywhere else 0.0
        return Difference.tested(float(value), resampled, least_p, z)

    def metrics(self) -> dict[str, float]:
        """All metrics by their MLflow names."""
        values = {} if self.key_neurons is None else self.key_neurons.metrics(self.names)
        if self.accuracy is not None:
            values |= self.accuracy.metrics(metrics.ACCURACY)
        for name, control in self.controls.items():
            values |= control.metrics(name, self.differences.get(name))
        return values | per_tag_metrics(self.per_tag)


def _taken(
    values: Float[ndarray, "resamples draws"], chosen: Int[ndarray, " resamples"]
) -> Float[ndarray, " resamples"]:
    taken: ndarray = values[np.arange(len(values)), chosen]
    return taken
