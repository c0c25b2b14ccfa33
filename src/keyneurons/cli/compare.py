"""The command ``compare``: compares finished runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.text import Text

from keyneurons.atomic_files import write_text
from keyneurons.build.figures import build_figures
from keyneurons.build.tracking import build_store
from keyneurons.config.paths import output_folder
from keyneurons.config.schema import Config
from keyneurons.report.comparison.console import show_comparison
from keyneurons.report.comparison.overlap_figure import overlap_figure
from keyneurons.report.comparison.side_by_side_files import write_side_by_side
from keyneurons.report.comparison.side_by_side_page import side_by_side_page
from keyneurons.report.comparison.side_by_side_tables import show_side_by_side
from keyneurons.report.figure_style import styled
from keyneurons.runs.finished import find_runs
from keyneurons.runs.side_by_side import compare_side_by_side
from keyneurons.sweeps.comparison import compare_runs, log_comparison, source_of, with_transfer, write_comparison
from keyneurons.terminal import terminal

WHICH = ("sweep", "experiment", "filter")
TRANSFER = ("transfer=true", "transfer=false")
FORMS = (
    "RUN RUN [RUN ...] (run ids, folders or key_neurons.json files) or one of sweep=ID, experiment=NAME and filter=..."
)


def run_compare(overrides: Sequence[str], compose: Callable[[Sequence[str]], Config]) -> None:
    """Compare runs by name, or all runs of ``sweep=ID``, ``experiment=NAME`` or ``filter=...``.

    The results are written to a folder; those of a sweep are also logged to its parent run.

    Args:
        overrides: the runs to compare, ``share=`` (of the runs that select a neuron of the
            consensus), ``transfer=true`` (of probes between languages) and overrides of
            ``tracking`` and ``report``.
        compose: returns the validated configuration with some overrides.
    """
    if named := [each for each in overrides if "=" not in each or Path(each).exists()]:
        _compare_named(named, [each for each in overrides if each not in named], compose)
        return
    transfer = "transfer=true" in overrides
    which, value, share, rest = parse_overrides([each for each in overrides if each not in TRANSFER])
    config = compose(rest)
    store, figures = build_store(config.tracking), build_figures(config.report)
    runs = find_runs(store, **{which: value})
    comparison = compare_runs(runs, source_of(store, which, value), share)
    if transfer:
        comparison = with_transfer(comparison, runs)
    folder = output_folder("compare")
    page = write_comparison(comparison, folder, figures)
    console = terminal()
    show_comparison(comparison, console)
    if which == "sweep":
        log_comparison(store, value, comparison, folder)
    console.print(
        Text(f"Results are in {folder}" + (f" and in run {value}" if which == "sweep" else "")), soft_wrap=True
    )
    console.print(Text(f"Open {page} in a browser"), soft_wrap=True)


def _compare_named(named: Sequence[str], rest: Sequence[str], compose: Callable[[Sequence[str]], Config]) -> None:
    """Compare runs by name and write the results to a folder.

    Raises:
        ValueError: there is one name only, or an override is of neither ``tracking`` nor
            ``report``.
    """
    if len(named) < 2 or not all(each.strip() for each in named):
        raise ValueError(f"compare takes {FORMS}, got {len(named)} run{'' if len(named) == 1 else 's'}")
    if other := [override for override in rest if not override.startswith(("tracking", "report."))]:
        raise ValueError(f"compare RUN RUN [RUN ...] takes only tracking.uri= and report.*, got {other[0]}")
    config = compose(rest)
    compared, options = compare_side_by_side(named, build_store(config.tracking)), build_figures(config.report)
    folder, image = output_folder("compare"), None
    write_side_by_side(compared, folder)
    if len(compared.tags) > 1:
        (folder / "figures").mkdir()
        with styled(options) as save:
            image = save(overlap_figure(compared), folder / "figures" / "overlap")
    write_text(folder / "report.html", side_by_side_page(compared, image))
    console = terminal()
    show_side_by_side(compared, console)
    console.print(Text(f"Results are in {folder}"), soft_wrap=True)
    console.print(Text(f"Open {folder / 'report.html'} in a browser"), soft_wrap=True)


def parse_overrides(overrides: Sequence[str]) -> tuple[str, str, float | None, list[str]]:
    """Key and value of the runs to compare, the share of a consensus, and all other overrides.

    A share of None is a majority: more than half of the runs.

    Raises:
        ValueError: if not exactly one of ``sweep=``, ``experiment=`` and ``filter=`` is given, the
            share is not in (0, 1], or another override is of neither ``tracking``
            nor ``report``.
    """
    pairs = [override.partition("=") for override in overrides]
    which = [(name, value) for name, _, value in pairs if name in WHICH]
    if len(which) != 1:
        raise ValueError(f"compare takes {FORMS}, got {', '.join(name for name, _ in which) or 'none'}")
    shares = [value for name, _, value in pairs if name == "share"]
    try:
        share = float(shares[-1]) if shares else None
    except ValueError:
        share = 0.0
    if share is not None and not 0 < share <= 1:
        raise ValueError(f"share must lie above 0 and be at most 1, got {shares[-1]!r}")
    rest = [override for override, (name, _, _) in zip(overrides, pairs, strict=True) if name not in (*WHICH, "share")]
    if other := [override for override in rest if not override.startswith(("tracking", "report."))]:
        legal = f"{which[0][0]}=, share=, transfer=true, tracking.uri= and report.*"
        raise ValueError(f"compare takes only {legal}, got {other[0]}")
    return *which[0], share, rest
