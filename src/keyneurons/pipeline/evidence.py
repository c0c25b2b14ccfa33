"""Results of the probes on the key neurons, on every control and for every tag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons import metrics
from keyneurons.analysis.controls import empirical_p_value
from keyneurons.pipeline.per_tag import TagProbe, per_tag_metrics
from keyneurons.pipeline.probes import TrainedProbe
from keyneurons.records import Labels

if TYPE_CHECKING:
    from keyneurons.probe.fit import ProbeResults
    from keyneurons.probe.metrics import ClassificationMetrics


@dataclass(frozen=True)
class KeyNeuronsProbe:
    """The trained probe on the key neurons with its scores on the test words."""

    scores: ClassificationMetrics
    dev_accuracy: float
    epochs: float
    probe: TrainedProbe

    @classmethod
    def of(cls, columns: Int[ndarray, " neurons"], trained: ProbeResults, labels: Labels) -> KeyNeuronsProbe:
        """Build the record from the first of several trained probes."""
        from keyneurons.probe.metrics import classification_metrics

        test = torch.as_tensor(labels.splits["test"].tags).long()
        scores = classification_metrics(trained.test_predictions[0], test, len(labels.names))
        dev, epochs = float(trained.dev_accuracy[0]), float(trained.best_epoch[0])
        return cls(scores, dev, epochs, TrainedProbe.of(columns, trained))

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
    """Accuracy of a control on the test words, one value per draw, with its label and contrast."""

    label: str
    contrast: str | None
    accuracy: Float[ndarray, " draws"]

    @property
    def mean(self) -> float:
        """Mean accuracy over the draws."""
        return float(self.accuracy.mean())

    @property
    def spread(self) -> float | None:
        """Standard deviation over the draws; None for a single draw."""
        return float(self.accuracy.std(ddof=1)) if len(self.accuracy) > 1 else None

    def p_value(self, key_accuracy: float) -> float | None:
        """Empirical p-value of the accuracy of the key neurons; None for a single draw."""
        return empirical_p_value(key_accuracy, self.accuracy) if len(self.accuracy) > 1 else None

    def metrics(self, name: str, key_accuracy: float | None) -> dict[str, float]:
        """Metrics by their MLflow names; ``key_accuracy`` is that of the key neurons, if any."""
        values = {metrics.control_accuracy(name): self.mean}
        if self.spread is not None:
            values[metrics.control_spread(name)] = self.spread
        if key_accuracy is not None:
            if (p_value := self.p_value(key_accuracy)) is not None:
                values[metrics.control_p_value(name)] = p_value
            if self.contrast is not None:
                values[self.contrast] = key_accuracy - self.mean
        return values


@dataclass(frozen=True)
class Evidence:
    """The probe on the key neurons, its controls by name, and the probes of single tags.

    ``union`` holds the activations of all key neurons on the train words. Without key neurons there
    is no probe, and only the controls that do not depend on them are measured.
    """

    names: tuple[str, ...]
    key_neurons: KeyNeuronsProbe | None
    controls: Mapping[str, ControlResult]
    per_tag: Mapping[str, TagProbe]
    union: Float[ndarray, "words features"]

    def metrics(self) -> dict[str, float]:
        """All metrics by their MLflow names."""
        accuracy = None if self.key_neurons is None else self.key_neurons.scores.accuracy
        values = {} if self.key_neurons is None else self.key_neurons.metrics(self.names)
        for name, control in self.controls.items():
            values |= control.metrics(name, accuracy)
        return values | per_tag_metrics(self.per_tag)
