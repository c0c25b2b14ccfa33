"""The figures of a comparison of runs, as files."""

from __future__ import annotations

from pathlib import Path

from keyneurons.metrics import ACCURACY, ADVANTAGE
from keyneurons.report.comparison.curves import curves
from keyneurons.report.comparison.depth_figures import depth_figure, depth_tags_figure
from keyneurons.report.comparison.figures import agreement_matrices, tally_figure
from keyneurons.report.comparison.language_figures import overlap_of_languages, transfer_of_languages
from keyneurons.report.comparison.tables import RunComparison
from keyneurons.report.comparison.trajectory_figures import tags_figure, trajectory_figure
from keyneurons.report.figure_style import FigureOptions, styled
from keyneurons.report.panels import X, panels

MOST_TRAJECTORIES = 12  # with figures; the tables have all
CURVES: tuple[tuple[X, str, str], ...] = (
    ("top_k", ACCURACY, "accuracy_by_top_k"),
    ("top_k", ADVANTAGE, "advantage_by_top_k"),
    ("layer", ACCURACY, "accuracy_by_layer"),
    ("layer", ADVANTAGE, "advantage_by_layer"),
    ("union_size", ACCURACY, "accuracy_by_union_size"),
)


def draw(comparison: RunComparison, folder: Path, options: FigureOptions) -> None:
    """Draw the curves, and the agreement and consensus of every group of several runs."""
    folder.mkdir(parents=True, exist_ok=True)
    title = ", ".join(
        comparison.source[key] for key in ("model", "dataset", "site", "layer", "basis") if key in comparison.source
    )
    with styled(options) as save:
        for x, metric, name in CURVES:
            if shown := panels(comparison.rows, x, metric):
                save(curves(shown, x, metric, title), folder / name)
        for i, group in enumerate(comparison.groups, start=1):
            if group.agreement is not None:
                number = f"_{i}" if len(comparison.groups) > 1 else ""
                matrices = agreement_matrices(group.agreement, comparison.labels(group), str(group.lineage))
                save(matrices, folder / f"agreement{number}")
                save(tally_figure(group.tally, str(group.lineage)), folder / f"consensus{number}")
        for i, each in enumerate(comparison.trajectories[:MOST_TRAJECTORIES], start=1):
            save(trajectory_figure(each), folder / f"trajectory_{i}")
            save(tags_figure(each), folder / f"trajectory_tags_{i}")
        if comparison.depths:
            save(depth_figure(comparison.depths), folder / "depth")
            save(depth_tags_figure(comparison.depths), folder / "depth_tags")
        several = len(comparison.languages)
        for own, name, transfer in zip(
            comparison.languages, numbered_names("languages", several), numbered_names("transfer", several), strict=True
        ):
            save(overlap_of_languages(own), folder / name)
            if own.transfer is not None:
                save(transfer_of_languages(own), folder / transfer)


def numbered_names(name: str, n: int) -> list[str]:
    """The name of each of n files: numbered from 1 if there are several."""
    return [name] if n == 1 else [f"{name}_{i}" for i in range(1, n + 1)]
