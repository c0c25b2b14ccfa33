"""Outputs of an agreement run: matrices, key neurons, figures and a summary."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.analysis.agreement import Agreement
from keyneurons.artifacts.metrics import write_metrics
from keyneurons.artifacts.run_files import write_basis, write_run_sets
from keyneurons.artifacts.tables import write_matrix, write_table
from keyneurons.atomic_files import write_json, write_text
from keyneurons.pipeline.method_agreement import MethodAgreement
from keyneurons.report.figure_style import FigureOptions, styled
from keyneurons.report.heatmaps import Scale, by_layer, heatmaps
from keyneurons.report.markup import block, table
from keyneurons.report.phrases import counted, describe_place

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES = {
    "jaccard": "Jaccard of the sets",
    "expected_jaccard": "Jaccard expected by chance",
    "rank_biased_overlap": "rank-biased overlap of the rankings",
    "kendall_tau": "Kendall's tau of all scores",
}


def write_agreement(compared: MethodAgreement, folder: Path, options: FigureOptions) -> None:
    """Write all outputs into the folder of the run; ``options`` are those of its figures."""
    measured = compared.agreement
    matrices = {name: getattr(measured, name) for name in MEASURES}
    for name, matrix in matrices.items():
        write_matrix(folder / f"agreement_{name}.csv", measured.methods, matrix, label="method")
    by_tag = {tag: _without_nan(matrix) for tag, matrix in measured.jaccard_by_tag.items()}
    write_json(folder / "agreement_jaccard_by_tag.json", {"methods": list(measured.methods), "tags": by_tag})
    write_metrics(folder, dict(agreement_metrics(measured)))
    dataset = {"id": compared.text.treebank.id, "digest": compared.text.digest}
    write_basis(folder, next(iter(compared.experiments.values())))
    (folder / "key_neurons").mkdir(exist_ok=True)
    for name, experiment in compared.experiments.items():
        path = folder / "key_neurons" / f"{name}.json"
        write_run_sets(path, experiment, dataset, compared.text.labels.column, compared.sets[name])
    counts, layers = neurons_by_layer(compared), next(iter(compared.sets.values())).layers
    rows = [[name, *row.tolist()] for name, row in zip(compared.sets, counts, strict=True)]
    write_table(folder / "agreement_layers.csv", ["method", *layers], rows)
    with styled(options) as save:
        (folder / "figures").mkdir(exist_ok=True)
        for name, figure in _figures(compared, counts, layers).items():
            save(figure, folder / "figures" / name)
    write_text(folder / "summary.md", agreement_markdown(compared))


def _figures(
    compared: MethodAgreement, counts: Int[ndarray, "methods layers"], layers: Sequence[int]
) -> dict[str, Figure]:
    """Matrices of the measures, and the layers of the neurons if there are several, by name."""
    title, measured = agreement_title(compared), compared.agreement
    matrices = {label: getattr(measured, name) for name, label in MEASURES.items()}
    figures = {"agreement": heatmaps(matrices, measured.methods, f"{title}\nMeans over the tags", Scale("agreement"))}
    if len(layers) > 1:
        explained = f"Layers of the {_top_k(compared)} strongest neurons of each tag"
        figures["layers"] = by_layer(counts, list(compared.sets), layers, f"{title}\n{explained}", "key neurons")
    return figures


def neurons_by_layer(compared: MethodAgreement) -> Int[ndarray, "methods layers"]:
    """Count the strongest neurons of each method by layer.

    They are the ``top_k`` strongest neurons of each tag over all layers, summed over the tags.
    """
    layers = next(iter(compared.sets.values())).layers
    counts = np.zeros((len(compared.sets), len(layers)), dtype=np.int64)
    for row, sets in zip(counts, compared.sets.values(), strict=True):
        for tag in sets:
            for neuron in sets.tags[tag][: _top_k(compared)]:
                row[layers.index(neuron.layer)] += 1
    return counts


def _top_k(compared: MethodAgreement) -> int:
    return next(iter(compared.experiments.values())).selection.rule.top_k


def agreement_metrics(measured: Agreement) -> Iterator[tuple[str, float]]:
    """Every defined measure of every pair of methods, by metric name."""
    for name in MEASURES:
        for i, first in enumerate(measured.methods):
            for j, second in enumerate(measured.methods[i + 1 :], start=i + 1):
                if not math.isnan(value := float(getattr(measured, name)[i, j])):
                    yield f"agreement/{name}/{first}/{second}", value


def agreement_rows(measured: Agreement) -> list[tuple[str, ...]]:
    """Pairs of methods with their measures, the most similar first."""
    pairs = [(i, j) for i in range(len(measured.methods)) for j in range(i + 1, len(measured.methods))]
    pairs.sort(key=lambda pair: -np.nan_to_num(measured.jaccard[pair], nan=-1.0))
    return [
        (measured.methods[i], measured.methods[j], *(_number(getattr(measured, name)[i, j]) for name in MEASURES))
        for i, j in pairs
    ]


def agreement_title(compared: MethodAgreement) -> str:
    """One-line description of the comparison."""
    experiment = next(iter(compared.experiments.values()))
    read = experiment.read
    place = describe_place(read.site, read.layers, read.basis.name)
    return (
        f"{read.model.files.id}, {place}: {len(compared.sets)} methods, "
        f"{counted(experiment.selection.rule.top_k, 'key neuron')} per tag on {compared.text.treebank.id}"
    )


def agreement_markdown(compared: MethodAgreement) -> str:
    """Format the summary as the description of an MLflow run."""
    head = ["method", "method", *MEASURES.values()]
    lines = [f"### {block(agreement_title(compared))}", "", *table(head, agreement_rows(compared.agreement))]
    return "\n".join([*lines, "", "Means over the tags."]) + "\n"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _without_nan(matrix: Float[ndarray, "methods methods"]) -> list[list[float | None]]:
    return [[None if math.isnan(value) else value for value in row] for row in matrix.tolist()]
