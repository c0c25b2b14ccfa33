"""The command ``hypotheses``: tabulates effects and predicted deficits of a finished run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from rich.text import Text

from keyneurons.artifacts.lesions import LESION_FILE, read_lesions
from keyneurons.artifacts.metrics import METRICS_FILE, read_metrics
from keyneurons.build.tracking import build_store
from keyneurons.config.paths import output_folder
from keyneurons.config.schema import Config
from keyneurons.report.hypotheses.records import Hypotheses, hypotheses_of
from keyneurons.report.hypotheses.tables import show_hypotheses, write_hypotheses
from keyneurons.runs.finished import Run
from keyneurons.runs.folders import find_run
from keyneurons.terminal import terminal


def run_hypotheses(which: str, overrides: Sequence[str], compose: Callable[[Sequence[str]], Config]) -> None:
    """Write the hypotheses of a run to a folder and print them.

    Args:
        which: MLflow id of the run, or its folder under ``outputs/``.
        overrides: overrides of ``tracking``.
        compose: returns the validated configuration with some overrides.

    Raises:
        ValueError: there is no such run, its files are damaged, or another key is overridden.
    """
    if other := [override for override in overrides if not override.startswith("tracking")]:
        raise ValueError(f"hypotheses takes only a run and tracking.uri=, got {other[0]}")
    hypotheses = hypotheses_of_run(find_run(which, build_store(compose(overrides).tracking)))
    folder = output_folder("hypotheses")
    write_hypotheses(hypotheses, folder)
    console = terminal()
    show_hypotheses(hypotheses, console)
    console.print(Text(f"Results are in {folder}"), soft_wrap=True)


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
