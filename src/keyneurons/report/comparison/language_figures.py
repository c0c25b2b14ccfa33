"""Figures of several languages: overlap of their sets, and transfer of their probes."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from keyneurons.report.comparison.languages import LanguageGroup
from keyneurons.report.heatmaps import Scale, heatmaps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REFERENCES = {"source": "as trained", "target": "standardised on the target"}


def overlap_of_languages(group: LanguageGroup) -> Figure:
    """Jaccard of two languages: sets of the same tag, and sets of other tags."""
    names = list(group.runs)
    matrices = {"same tag": _matrix(group, "same_tag"), "other tags": _matrix(group, "other_tag")}
    values = [each[~np.isnan(each)] for each in matrices.values()]
    most = max((float(own.max()) for own in values if own.size), default=1.0) or 1.0
    random = [pair.random for pair in group.sets.pairs if pair.random is not None]
    chance = f" (random sets of the same sizes: {fmean(random):.3f})" if random else ""
    title = f"{group.title}\nKey neurons of two languages{chance}".strip()
    return heatmaps(matrices, names, title, Scale("Jaccard, mean over the tags", 0.0, most))


def transfer_of_languages(group: LanguageGroup) -> Figure:
    """Accuracy of the probe of every language (rows) on every other, beside random neurons."""
    assert group.transfer is not None
    names, matrices = group.transfer.names, {}
    for reference, how in REFERENCES.items():
        cells = {(c.source, c.target): c for c in group.transfer.cells if c.standardised == reference}
        for what in ("accuracy", "random"):
            label = "key neurons" if what == "accuracy" else "random neurons"
            rows = [[getattr(cells[source, target], what) for target in names] for source in names]
            matrices[f"{label}, {how}"] = np.array(rows)
    title = f"{group.title}\nTransfer: trained on the row, tested on the column".strip()
    return heatmaps(matrices, names, title, Scale("accuracy", 0.0, 1.0))


def _matrix(group: LanguageGroup, what: str) -> Float[ndarray, "languages languages"]:
    place = {name: i for i, name in enumerate(group.runs)}
    matrix = np.full((len(place), len(place)), np.nan)
    for pair in group.sets.pairs:
        value = getattr(pair, what)
        if value is not None:
            matrix[place[pair.first], place[pair.second]] = matrix[place[pair.second], place[pair.first]] = value
    return matrix
