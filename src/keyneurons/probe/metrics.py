"""Accuracy, F1 and confusion matrices of probe predictions, with explicit averages."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_f1_score,
)


@dataclass(frozen=True)
class ClassificationMetrics:
    """Scores of one multi-class probe.

    ``accuracy`` is the share of correct words (micro average). ``macro_f1`` is the unweighted mean
    of F1 over the classes that occur among predictions or targets; ``f1`` is 0 for any other class.
    ``confusion`` counts words by ``[true, predicted]``.
    """

    accuracy: float
    macro_f1: float
    f1: Float[ndarray, " classes"]
    confusion: Int[ndarray, "classes classes"]


def classification_metrics(
    predictions: Int[Tensor, " words"], targets: Int[Tensor, " words"], n_classes: int
) -> ClassificationMetrics:
    """Compute accuracy, F1 and the confusion matrix of predicted classes.

    Raises ``ValueError`` if the shapes differ or a class is out of range.
    """
    _check(predictions, targets, n_classes)
    confusion = multiclass_confusion_matrix(predictions, targets, n_classes).numpy(force=True)
    return ClassificationMetrics(
        accuracy=float(multiclass_accuracy(predictions, targets, n_classes, average="micro")),
        macro_f1=float(multiclass_f1_score(predictions, targets, n_classes, average="macro")),
        f1=multiclass_f1_score(predictions, targets, n_classes, average=None).numpy(force=True),
        confusion=confusion,
    )


def _check(predictions: Int[Tensor, "*shape"], targets: Int[Tensor, "*shape"], n_classes: int) -> None:
    if predictions.shape != targets.shape or predictions.numel() == 0:
        raise ValueError(f"got predictions of shape {list(predictions.shape)} for targets {list(targets.shape)}")
    for name, classes in (("predictions", predictions), ("targets", targets)):
        if classes.min() < 0 or classes.max() >= n_classes:
            raise ValueError(f"{name} must lie in 0..{n_classes - 1}, got {classes.min()}..{classes.max()}")
