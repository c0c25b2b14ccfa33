"""The HTML page of a comparison side by side."""

from __future__ import annotations

from pathlib import Path

from keyneurons.artifacts.key_neurons import sets_in
from keyneurons.report.comparison.side_by_side import SideBySide
from keyneurons.report.comparison.side_by_side_tables import (
    DIFFERENCES_EXPLAINED,
    EXPLAINED,
    TextTable,
    accuracy_table,
    f1_table,
    metric_table,
    neuron_names,
    pair_table,
    set_table,
    setting_table,
)
from keyneurons.report.pages import data_uri, render
from keyneurons.report.phrases import counted

MOST_NEURONS = 40


def side_by_side_page(compared: SideBySide, overlap_image: Path | None) -> str:
    """Render the page as HTML.

    Args:
        compared: the comparison.
        overlap_image: the figure of the overlap matrices, if any.
    """
    accuracy = [table for table in (accuracy_table(compared), f1_table(compared)) if table is not None]
    return render(
        "side_by_side.html",
        title=f"{counted(len(compared.sides), 'run')} side by side",
        sides={name: side.facts for name, side in zip(compared.letters, compared.sides, strict=True)},
        notes=compared.notes,
        explained=EXPLAINED,
        sets=[table for table in (set_table(compared), pair_table(compared)) if table is not None],
        neurons=_neurons(compared),
        unions=_unions(compared),
        overlap_image=None if overlap_image is None else data_uri(overlap_image),
        accuracy=accuracy,
        differences_explained=DIFFERENCES_EXPLAINED if compared.differences else "",
        metrics=metric_table(compared),
        same_text=compared.same_text,
        settings=setting_table(compared),
    )


def _neurons(compared: SideBySide) -> TextTable | None:
    """The neurons of every tag by the runs that have them, those of most runs first."""
    if compared.sets is None:
        return None
    rows = []
    for tag in compared.sets.tags:
        rows += [(tag, runs, _capped(names)) for runs, names in neuron_names(compared, tag).items()]
    return TextTable(("tag", "in", "neurons"), tuple(rows), n_left=3)


def _unions(compared: SideBySide) -> dict[str, str]:
    if compared.sets is None:
        return {}
    _, sets = sets_in(compared.sides[0].file)
    return {
        f"{compared.named(runs)} ({len(own)})": ", ".join(sets.name(*each) for each in own)
        for runs, own in compared.sets.union_neurons.items()
    }


def _capped(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NEURONS} more" if len(names) > MOST_NEURONS else ""
    return ", ".join(names[:MOST_NEURONS]) + more
