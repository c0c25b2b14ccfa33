"""Reads the hypotheses of a finished run from its files."""

from __future__ import annotations

from dataclasses import replace

from keyneurons.artifacts.lesions import LESION_FILE, read_lesions
from keyneurons.artifacts.metrics import METRICS_FILE, read_metrics
from keyneurons.report.hypotheses.records import Hypotheses, hypotheses_of
from keyneurons.runs.finished import Run


def hypotheses_of_run(run: Run) -> Hypotheses:
    """Read the hypotheses of a run from its files.

    Raises:
        ValueError: a file is missing or damaged.
    """
    config = run.config()
    lesions = None if config.lesion is None else read_lesions(run.file(LESION_FILE))
    metrics = read_metrics(run.file(METRICS_FILE).parent)
    found = hypotheses_of(run.name, run.key_neurons(), metrics, lesions, config.threshold.alpha)
    given = None if config.lesion is None else config.lesion.neurons
    return replace(found, given=None if given is None else str(given))
