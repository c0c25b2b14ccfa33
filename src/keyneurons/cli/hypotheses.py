"""The command ``hypotheses``: tabulates effects and predicted deficits of a finished run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.text import Text

from keyneurons.build.tracking import build_store
from keyneurons.config.paths import output_folder
from keyneurons.config.schema import Config
from keyneurons.report.hypotheses.tables import show_hypotheses, write_hypotheses
from keyneurons.runs.folders import find_run
from keyneurons.runs.hypotheses import hypotheses_of_run
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
