"""The command ``compare``: compares finished runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.text import Text

from keyneurons.build.tracking import build_store
from keyneurons.config.paths import output_folder
from keyneurons.config.schema import Config
from keyneurons.report.comparison.console import show_comparison
from keyneurons.runs.finished import find_runs
from keyneurons.sweeps.comparison import compare_runs, log_comparison, source_of, write_comparison
from keyneurons.terminal import terminal

WHICH = ("sweep", "experiment", "filter")


def run_compare(overrides: Sequence[str], compose: Callable[[Sequence[str]], Config]) -> None:
    """Compare the runs of ``sweep=ID``, ``experiment=NAME`` or ``filter=...``.

    The results are written to a folder; those of a sweep are also logged to its parent run.

    Args:
        overrides: the runs to compare, ``share=`` (of the runs that select a neuron of the
            consensus) and overrides of ``tracking``.
        compose: returns the validated configuration with some overrides.
    """
    which, value, share, rest = parse_overrides(overrides)
    store = build_store(compose(rest).tracking)
    runs = find_runs(store, **{which: value})
    comparison = compare_runs(runs, source_of(store, which, value), share)
    folder = output_folder("compare")
    page = write_comparison(comparison, folder)
    console = terminal()
    show_comparison(comparison, console)
    if which == "sweep":
        log_comparison(store, value, comparison, folder)
    console.print(
        Text(f"Results are in {folder}" + (f" and in run {value}" if which == "sweep" else "")), soft_wrap=True
    )
    console.print(Text(f"Open {page} in a browser"), soft_wrap=True)


def parse_overrides(overrides: Sequence[str]) -> tuple[str, str, float | None, list[str]]:
    """Key and value of the runs to compare, the share of a consensus, and all other overrides.

    A share of None is a majority: more than half of the runs.

    Raises:
        ValueError: if not exactly one of ``sweep=``, ``experiment=`` and ``filter=`` is given, the
            share is not in (0, 1], or another override is not of ``tracking``.
    """
    pairs = [override.partition("=") for override in overrides]
    which = [(name, value) for name, _, value in pairs if name in WHICH]
    if len(which) != 1:
        raise ValueError(
            f"compare takes one of sweep=ID, experiment=NAME and filter=..., "
            f"got {', '.join(name for name, _ in which) or 'none'}"
        )
    shares = [value for name, _, value in pairs if name == "share"]
    try:
        share = float(shares[-1]) if shares else None
    except ValueError:
        share = 0.0
    if share is not None and not 0 < share <= 1:
        raise ValueError(f"share must lie above 0 and be at most 1, got {shares[-1]!r}")
    rest = [override for override, (name, _, _) in zip(overrides, pairs, strict=True) if name not in (*WHICH, "share")]
    if other := [override for override in rest if not override.startswith("tracking")]:
        raise ValueError(f"compare takes only {which[0][0]}=, share= and tracking.uri=, got {other[0]}")
    return *which[0], share, rest
