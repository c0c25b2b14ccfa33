"""The scorings of a planned run, and their speed on this machine."""

from __future__ import annotations

import time

import numpy as np

from keyneurons.build.probing import build_controls
from keyneurons.build.selection import Method
from keyneurons.config import schema
from keyneurons.plan.probes import reselections
from keyneurons.progress import stage
from keyneurons.selection.scoring import Driver

WORDS, NEURONS = 4096, 256
"""Size of the trial."""

SENTENCE = 16  # words of every sentence of the trial


def scorings(config: schema.Config, method: Method) -> int:
    """How often a run scores all words and neurons; the halves of one halving count once."""
    again = sum(map(reselections, build_controls(config).values()))
    permutations = config.threshold.permutations if config.threshold.kind == "permutation" else 0
    resamples = 0 if method.traits is None else config.reliability.halves + config.reliability.bootstraps
    return 1 + again + permutations + resamples


def measure_scoring(config: schema.Config, method: Method, tags: int) -> float | None:
    """Seconds per word and neuron of a scoring, by a trial on noise; None for other methods.

    Attributions and given sets are not measured.
    """
    if method.scorer is None or method.attribution is not None:
        return None
    rng = np.random.default_rng(0)
    values = rng.standard_normal((WORDS, NEURONS)).astype(config.activations.dtype)
    rows = np.arange(WORDS)
    source = Driver({0: values}, rows, tags, config.site, config.scope, sentences=rows // SENTENCE)
    few = rows[: WORDS // 8]
    with stage("timing the selection method"):
        source.of_words(few, tags).scores(method.scorer, few % tags)  # warm-up
        started = time.perf_counter()
        source.scores(method.scorer, rng.permutation(rows % tags))
        return (time.perf_counter() - started) / values.size
