"""The command ``claims``: puts published claims beside what finished runs measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.text import Text

from keyneurons.build.tracking import build_store
from keyneurons.config.paths import output_folder
from keyneurons.config.schema import Config
from keyneurons.report.claims.page import show_claims, write_claims
from keyneurons.runs.claims import claims_of_runs
from keyneurons.terminal import terminal


def run_claims(arguments: Sequence[str], compose: Callable[[Sequence[str]], Config]) -> None:
    """Judge the claims by some runs, write the page and print it.

    Args:
        arguments: MLflow ids of runs or sweeps, or folders of runs, and overrides of ``tracking``.
        compose: returns the validated configuration with some overrides.

    Raises:
        ValueError: no run is given, a run is unusable, or another key is overridden.
    """
    overrides = [each for each in arguments if each.startswith("tracking")]
    which = [each for each in arguments if each not in overrides]
    if other := [each for each in which if "=" in each]:
        raise ValueError(f"claims takes only runs, sweeps and tracking.uri=, got {other[0]}")
    if not which:
        raise ValueError("claims takes MLflow ids of runs or sweeps, or folders under outputs/, got none")
    page = claims_of_runs(which, build_store(compose(overrides).tracking))
    path, console = write_claims(page, output_folder("claims")), terminal()
    show_claims(page, console)
    console.print(Text(f"Results are in {path.parent}; open {path} in a browser"), soft_wrap=True)
