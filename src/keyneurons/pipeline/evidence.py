"""What probes came to: the key neurons, every control, every tag."""

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
from keyneurons.pipeline.probes import KeyProbe
from keyneurons.records import Labels

if TYPE_CHECKING:
    from keyneurons.probe.fit import ProbeResults
    from keyneurons.probe.metrics import ClassificationMetrics


@dataclass(frozen=True)
class KeyNeuronsProbe:
    """The probe on the key neurons: its scores on the test words, its training, the probe itself."""

    scores: ClassificationMetrics
    dev_accuracy: float
    epochs: float
    probe: KeyProbe

    @classmethod
    def of(cls, columns: Int[ndarray, " neurons"], trained: ProbeResults, labels: Labels) -> KeyNeuronsProbe:
        """The first of some trained probes."""
        from keyneurons.probe.metrics import classification_metrics

        test = torch.as_tensor(labels.splits["test"].tags).long()
        scores = classification_metrics(trained.test_predictions[0], test, len(labels.names))
        dev, epochs = float(trained.dev_accuracy[0]), float(trained.best_epoch[0])
        return cls(scores, dev, epochs, KeyProbe.of(columns, trained))

    def metrics(self, names: tuple[str, ...]) -> dict[str, float]:
        """By MLflow names, for the tags in their order."""
        found = {
            metrics.ACCURACY: self.scores.accuracy,
            metrics.MACRO_F1: self.scores.macro_f1,
            metrics.DEV_ACCURACY: self.dev_accuracy,
            "probe/epochs": self.epochs,
        }
        return found | {f"probe/test_f1/{tag}": float(f1) for tag, f1 in zip(names, self.scores.f1, strict=True)}


@dataclass(frozen=True)
class ControlResult:
    """Accuracy of a control on the test words, of each of its draws; the rest is the control's own."""

    label: str
    contrast: str | None
    accuracy: Float[ndarray, " draws"]

    @property
    def mean(self) -> float:
        """Mean over the draws."""
        return float(self.accuracy.mean())

    @property
    def spread(self) -> float | None:
        """Standard deviation over the draws, if there are several."""
        return float(self.accuracy.std(ddof=1)) if len(self.accuracy) > 1 else None

    def p_value(self, of_key: float) -> float | None:
        """That of the accuracy of the key neurons among the draws, if there are several."""
        return empirical_p_value(of_key, self.accuracy) if len(self.accuracy) > 1 else None

    def metrics(self, name: str, of_key: float | None) -> dict[str, float]:
        """By MLflow names; ``of_key`` is the accuracy of the key neurons, if there are any."""
        found = {metrics.control_accuracy(name): self.mean}
        if self.spread is not None:
            found[metrics.control_spread(name)] = self.spread
        if of_key is not None:
            if (p_value := self.p_value(of_key)) is not None:
                found[metrics.control_p_value(name)] = p_value
            if self.contrast is not None:
                found[self.contrast] = of_key - self.mean
        return found


@dataclass(frozen=True)
class Evidence:
    """The probe on the key neurons, its controls by name, and the tags one by one.

    ``union`` holds the key neurons on the train words. Without any key neuron there is no probe, and only the controls
    that do not depend on them.
    """

    names: tuple[str, ...]
    key: KeyNeuronsProbe | None
    controls: Mapping[str, ControlResult]
    per_tag: Mapping[str, TagProbe]
    union: Float[ndarray, "words features"]

    def metrics(self) -> dict[str, float]:
        """All of it that is a number, by MLflow names."""
        of_key = None if self.key is None else self.key.scores.accuracy
        found = {} if self.key is None else self.key.metrics(self.names)
        for name, control in self.controls.items():
            found |= control.metrics(name, of_key)
        return found | per_tag_metrics(self.per_tag)
