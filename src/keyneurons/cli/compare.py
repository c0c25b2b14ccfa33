"""The command that compares finished runs: its arguments, and what it prints."""

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
    """Compare the runs of ``sweep=ID``, ``experiment=NAME`` or ``filter=...`` and keep what is found in a folder.

    A sweep's comparison is logged to its parent run too.

    Args:
        overrides: which runs, ``share=`` of them that makes a consensus, and ``tracking``.
        compose: makes a checked configuration of overrides.
    """
    which, value, share, rest = asked_in(overrides)
    store = build_store(compose(rest).tracking)
    runs = find_runs(store, **{which: value})
    found = compare_runs(runs, source_of(store, which, value), share)
    folder = output_folder("compare")
    written = write_comparison(found, folder)
    console = terminal()
    show_comparison(found, console)
    if which == "sweep":
        log_comparison(store, value, found, folder)
    console.print(
        Text(f"Everything is in {folder}" + (f" and with run {value}" if which == "sweep" else "")), soft_wrap=True
    )
    console.print(Text(f"Open {written} in a browser"), soft_wrap=True)


def asked_in(overrides: Sequence[str]) -> tuple[str, str, float | None, list[str]]:
    """Which runs, the share that makes a consensus (None: more than half), and all other overrides.

    Raises:
        ValueError: not one of ``sweep=``, ``experiment=`` and ``filter=`` is given, the share is no share, or an
            override is of something that a comparison does not depend on.
    """
    given = [override.partition("=") for override in overrides]
    which = [(name, value) for name, _, value in given if name in WHICH]
    if len(which) != 1:
        raise ValueError(
            f"compare takes one of sweep=ID, experiment=NAME and filter=..., "
            f"got {', '.join(name for name, _ in which) or 'none'}"
        )
    shares = [value for name, _, value in given if name == "share"]
    try:
        share = float(shares[-1]) if shares else None
    except ValueError:
        share = 0.0
    if share is not None and not 0 < share <= 1:
        raise ValueError(f"share must lie above 0 and be at most 1, got {shares[-1]!r}")
    rest = [override for override, (name, _, _) in zip(overrides, given, strict=True) if name not in (*WHICH, "share")]
    if other := [override for override in rest if not override.startswith("tracking")]:
        raise ValueError(f"beside {which[0][0]}= compare takes share= and tracking.uri=, got {other[0]}")
    return *which[0], share, rest
