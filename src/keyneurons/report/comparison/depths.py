"""Runs of several models by relative depth: where each measure of each tag peaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from keyneurons.analysis.depth import Peak, peak, relative_depth
from keyneurons.artifacts.run_sets import SetGroup
from keyneurons.metrics import ACCURACY, ADVANTAGE, SPECIFICITY, WORTH, high, low
from keyneurons.report.comparison.factors import describe, sortable
from keyneurons.report.comparison.run_table import RunRow

OF_ALL_TAGS = {
    ACCURACY: "accuracy",
    ADVANTAGE: "advantage over random sets",
    WORTH: "worth",
    SPECIFICITY: "specificity",
}
OF_TAG = {
    "probe/test_f1": "F1, probe on all key neurons",
    "per_tag/difference": "F1 of its own key neurons minus random sets",
}
"""Measures of a tag by the first part of their metric's name."""

TABLE_HEAD = ("models", "layer", "layers", "depth", "run", "tag", "measure", "value", "low", "high")


@dataclass(frozen=True)
class OverDepth:
    """The runs of one configuration of a model, each on one layer, the first layer first."""

    title: str
    model: str
    n_layers: int
    rows: tuple[RunRow, ...]

    @property
    def depths(self) -> tuple[float, ...]:
        """The relative depth of every run."""
        return tuple(relative_depth(row.layer, self.n_layers) for row in self.rows if row.layer is not None)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags with an F1, by the names in metrics."""
        names = {name for row in self.rows for name in row.metrics if name.startswith("probe/test_f1/")}
        return tuple(sorted(name.removeprefix("probe/test_f1/") for name in names))

    def values(self, name: str) -> dict[float, float]:
        """A metric by depth, where it is measured."""
        pairs = zip(self.depths, self.rows, strict=True)
        return {depth: row.metrics[name] for depth, row in pairs if name in row.metrics}

    def peak(self, name: str, lower: str) -> Peak | None:
        """The peak of a metric, given the name of the lower end of its interval."""
        values = self.values(name)
        return peak(values, self.values(lower)) if values else None

    def place(self, found: Peak) -> str:
        """A peak in words: ``0.40 (layer 12 of 30)``, with the depths that reach its interval."""
        layer = self.rows[self.depths.index(found.depth)].layer
        ends = "" if found.shallowest == found.deepest else f", {found.shallowest:.2f} to {found.deepest:.2f}"
        return f"{found.depth:.2f} (layer {layer} of {self.n_layers}{ends})"


def of_tag(measure: str, tag: str) -> tuple[str, str, str]:
    """Names of a measure of a tag, and of the ends of its interval."""
    return f"{measure}/{tag}", f"{low(measure)}/{tag}", f"{high(measure)}/{tag}"


def depths(rows: Sequence[RunRow], groups: Sequence[SetGroup]) -> tuple[OverDepth, ...]:
    """The runs by model and by all factors but the layer, with at least two layers each.

    Empty unless there are at least two models. Sets of different models are not compared.
    """
    found = []
    for group in groups:
        apart: dict[tuple[tuple[str, str], ...], dict[int, RunRow]] = {}
        for row in rows:
            if row.id in group.sets and row.layer is not None and group.lineage.n_layers is not None:
                others = tuple((key, value) for key, value in row.factors.items() if _is_kept(key))
                apart.setdefault(others, {}).setdefault(row.layer, row)
        for others, own in sorted(apart.items(), key=lambda item: [sortable(value) for _, value in item[0]]):
            if len(own) > 1 and group.lineage.n_layers is not None:
                title = ", ".join(filter(None, [str(group.lineage), describe(dict(others))]))
                by_layer = tuple(own[layer] for layer in sorted(own))
                found.append(OverDepth(title, group.lineage.model, group.lineage.n_layers, by_layer))
    return tuple(found) if len({each.model for each in found}) > 1 else ()


def _is_kept(key: str) -> bool:
    return key != "layer" and key != "choice.model" and not key.startswith("model.")


def table_rows(each: OverDepth) -> Iterator[list[object]]:
    """Rows for every layer and measure, of all tags and of every tag."""
    for depth, row in zip(each.depths, each.rows, strict=True):
        named = {name: ("", name, low(name), high(name)) for name in OF_ALL_TAGS}
        named |= {f"{m}/{tag}": (tag, *of_tag(m, tag)) for tag in each.tags for m in OF_TAG}
        for key, (tag, name, lower, upper) in named.items():
            if name in row.metrics:
                measure = key.removesuffix(f"/{tag}")
                values = [row.metrics.get(end, "") for end in (name, lower, upper)]
                yield [each.title, row.layer, each.n_layers, depth, row.id, tag, measure, *values]


def section(found: Sequence[OverDepth]) -> dict[str, object]:
    """The tables of peaks for the page of a comparison."""
    general = [(label, [_cell(each, name, low(name)) for each in found]) for name, label in OF_ALL_TAGS.items()]
    tags = sorted({tag for each in found for tag in each.tags})
    by_tag = [
        (label, [(tag, [_cell(each, *of_tag(measure, tag)[:2]) for each in found]) for tag in tags])
        for measure, label in OF_TAG.items()
    ]
    return {
        "titles": [each.title for each in found],
        "general": [(label, cells) for label, cells in general if any(value for value, _ in cells)],
        "by_tag": [(label, own) for label, own in by_tag if any(value for _, cells in own for value, _ in cells)],
    }


def _cell(each: OverDepth, name: str, lower: str) -> tuple[str, str]:
    """Place and value of a peak; empty if nothing is measured."""
    found = each.peak(name, lower)
    if found is None:
        return "", ""
    return each.place(found), f"{found.value:.0f}" if name == WORTH else f"{found.value:.3f}"


def in_words(found: Sequence[OverDepth]) -> str:
    """A sentence on the depth at which accuracy peaks in every model."""
    places = [(each.title, each.peak(ACCURACY, low(ACCURACY)), each) for each in found]
    listed = "; ".join(f"{own.place(best)} in {title}" for title, best, own in places if best is not None)
    return f"By relative depth (layer / layers of the model), accuracy peaks at {listed}."
