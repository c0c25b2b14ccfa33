"""What a comparison of methods leaves behind: matrices, key neurons, a figure and a summary."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.analysis.agreement import Agreement
from keyneurons.artifacts.metrics import write_metrics
from keyneurons.artifacts.run_files import write_run_sets
from keyneurons.artifacts.tables import write_matrix, write_table
from keyneurons.atomic_files import write_json, write_text
from keyneurons.pipeline.method_agreement import Comparison
from keyneurons.report.drawing import save
from keyneurons.report.markup import block, table
from keyneurons.report.run.figures import figure_by_layer, figure_of_matrices
from keyneurons.report.run.summary import layers_told

MEASURES = {
    "jaccard": "Jaccard of the sets",
    "expected_jaccard": "Jaccard expected by chance",
    "rank_biased_overlap": "rank-biased overlap of the rankings",
    "kendall_tau": "Kendall's tau of all scores",
}


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write all that was found into a run's folder."""
    found = comparison.agreement
    matrices = {name: getattr(found, name) for name in MEASURES}
    for name, matrix in matrices.items():
        write_matrix(folder / f"agreement_{name}.csv", found.methods, matrix)
    by_tag = {tag: _without_nan(matrix) for tag, matrix in found.jaccard_by_tag.items()}
    write_json(folder / "agreement_jaccard_by_tag.json", {"methods": list(found.methods), "tags": by_tag})
    write_metrics(folder, dict(agreement_metrics(found)))
    dataset = {"id": comparison.text.treebank.id, "digest": comparison.text.digest}
    (folder / "key_neurons").mkdir(exist_ok=True)
    for name, experiment in comparison.experiments.items():
        path = folder / "key_neurons" / f"{name}.json"
        write_run_sets(path, experiment, dataset, comparison.text.labels.column, comparison.sets[name])
    titles = {MEASURES[name]: matrix for name, matrix in matrices.items()}
    (folder / "figures").mkdir(exist_ok=True)
    save(figure_of_matrices(titles, found.methods), folder / "figures" / "agreement.png")
    counts = neurons_by_layer(comparison)
    layers = next(iter(comparison.sets.values())).layers
    rows = [[name, *row.tolist()] for name, row in zip(comparison.sets, counts, strict=True)]
    write_table(folder / "agreement_layers.csv", ["method", *layers], rows)
    if len(layers) > 1:
        title = f"Layers of the {_top_k(comparison)} strongest neurons of each tag"
        save(figure_by_layer(counts, list(comparison.sets), layers, title), folder / "figures" / "layers.png")
    write_text(folder / "summary.md", agreement_markdown(comparison))


def neurons_by_layer(comparison: Comparison) -> Int[ndarray, "methods layers"]:
    """How many of the ``top_k`` strongest neurons over all layers, of all tags together, each method has in a layer."""
    layers = next(iter(comparison.sets.values())).layers
    counts = np.zeros((len(comparison.sets), len(layers)), dtype=np.int64)
    for row, sets in zip(counts, comparison.sets.values(), strict=True):
        for tag in sets:
            for neuron in sets.tags[tag][: _top_k(comparison)]:
                row[layers.index(neuron.layer)] += 1
    return counts


def _top_k(comparison: Comparison) -> int:
    return next(iter(comparison.experiments.values())).selection.rule.top_k


def agreement_metrics(found: Agreement) -> Iterator[tuple[str, float]]:
    """Every measure of every pair of methods, where it is defined."""
    for name in MEASURES:
        for i, first in enumerate(found.methods):
            for j, second in enumerate(found.methods[i + 1 :], start=i + 1):
                if not math.isnan(value := float(getattr(found, name)[i, j])):
                    yield f"agreement/{name}/{first}/{second}", value


def agreement_rows(found: Agreement) -> list[tuple[str, ...]]:
    """Pairs of methods with their measures, the most alike first."""
    pairs = [(i, j) for i in range(len(found.methods)) for j in range(i + 1, len(found.methods))]
    pairs.sort(key=lambda pair: -np.nan_to_num(found.jaccard[pair], nan=-1.0))
    return [
        (found.methods[i], found.methods[j], *(_number(getattr(found, name)[i, j]) for name in MEASURES))
        for i, j in pairs
    ]


def agreement_title(comparison: Comparison) -> str:
    """What was compared on what."""
    experiment = next(iter(comparison.experiments.values()))
    read = experiment.read
    return (
        f"{read.model.files.id}, {read.site}, {layers_told(read.layers)}: {len(comparison.sets)} methods, "
        f"{experiment.selection.rule.top_k} key neurons per tag on {comparison.text.treebank.id}"
    )


def agreement_markdown(comparison: Comparison) -> str:
    """The summary as the description of an MLflow run."""
    head = ["method", "method", *MEASURES.values()]
    lines = [f"### {block(agreement_title(comparison))}", "", *table(head, agreement_rows(comparison.agreement))]
    return "\n".join([*lines, "", "Means over the tags."]) + "\n"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _without_nan(matrix: Float[ndarray, "methods methods"]) -> list[list[float | None]]:
    return [[None if math.isnan(value) else value for value in row] for row in matrix.tolist()]
