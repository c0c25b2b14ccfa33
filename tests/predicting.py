"""Evidence from simulated predictions of known accuracy."""

from __future__ import annotations

import numpy as np
import torch
from numpy import ndarray

from keyneurons.analysis.sentence_bootstrap import SentenceBootstrap
from keyneurons.choices import ControlRole
from keyneurons.pipeline.evidence import ControlResult, Evidence, KeyNeuronsProbe
from keyneurons.pipeline.probes import TrainedProbe
from keyneurons.probe.metrics import ClassificationMetrics

WORDS, SENTENCES = 400, np.arange(400) // 8
PROBE = TrainedProbe(np.arange(1), torch.zeros(1), torch.ones(1), torch.ones(1, 2), torch.ones(2))


def right(accuracy: float, draws: int, seed: int) -> ndarray:
    """Words that predictors of an accuracy get right."""
    return np.random.default_rng(seed).random((draws, WORDS)) < accuracy


def control(
    role: ControlRole | None, correct: ndarray, baseline: ndarray | None = None, contrast: str | None = None
) -> ControlResult:
    return ControlResult(f"control of role {role}", contrast, role, correct, baseline)


def evidence(
    key: ndarray, controls: dict[str, ControlResult], unseen: ndarray | None = None, resamples: int = 500
) -> Evidence:
    scores = ClassificationMetrics(float(key.mean()), 0.5, np.zeros(2), np.zeros((2, 2), dtype=np.int64))
    unseen = np.arange(WORDS) % 4 == 0 if unseen is None else unseen
    boot = SentenceBootstrap.of(SENTENCES, resamples, 0)
    probe = KeyNeuronsProbe(scores, key.astype(np.int64), key, 0.9, 3.0, PROBE)
    return Evidence(("A", "B"), probe, controls, {}, np.empty((1, 0)), boot, unseen)
