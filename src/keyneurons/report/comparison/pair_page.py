"""The HTML page of a comparison of two runs."""

from __future__ import annotations

from keyneurons.report.comparison.pair import RunPair
from keyneurons.report.comparison.pair_tables import EXPLAINED, HEADS, metric_rows, neuron_names, tag_rows
from keyneurons.report.pages import render

MOST_NEURONS = 40


def pair_page(pair: RunPair) -> str:
    """Render the page as HTML."""
    union, site = pair.sets.union_neurons, pair.first.file["site"]
    return render(
        "compare_pair.html",
        title="Two runs compared",
        sides={"A": pair.first.facts, "B": pair.second.facts},
        notes=pair.notes,
        heads=HEADS,
        explained=EXPLAINED,
        tags=tag_rows(pair),
        neurons={tag: [_capped(own) for own in neuron_names(pair, tag).values()] for tag in pair.sets.tags},
        union={
            name: [f"{site}.{layer}.{neuron}" for layer, neuron in union[key]]
            for name, key in {"both": "both", "only A": "first", "only B": "second"}.items()
        },
        metrics=metric_rows(pair),
        same_text=pair.same_text,
        settings=[(key, a, b) for key, (a, b) in pair.settings().items()],
    )


def _capped(names: list[str]) -> tuple[list[str], int]:
    """The first names and the number of further ones."""
    return names[:MOST_NEURONS], max(0, len(names) - MOST_NEURONS)
