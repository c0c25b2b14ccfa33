"""Files of a comparison side by side: JSON, and tables as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from keyneurons.analysis.run_differences import Contrast
from keyneurons.analysis.shared_sets import Counts, SharedNeuron
from keyneurons.artifacts.tables import write_table
from keyneurons.atomic_files import write_json
from keyneurons.report.comparison.side_by_side import SideBySide

FORMAT = 1
MATRICES = ("count", "coefficient", "jaccard", "expected", "p_value")
SHARED = ("count", "expected", "jaccard", "expected_jaccard", "coefficient", "p_value", "p_adjusted")


def write_side_by_side(compared: SideBySide, folder: Path) -> None:
    """Write ``compare.json`` and the tables of sets, neurons, overlaps and differences."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "compare.json", answers(compared))
    letters = compared.letters
    if compared.sets is not None:
        sizes = [f"{what}_{name}" for what in ("size", "only") for name in letters]
        write_table(folder / "tags.csv", ["tag", *sizes, "runs", *SHARED, "same_sign"], [*_tag_rows(compared)])
        ranks = [f"{what}_{name}" for name in letters for what in ("rank", "score")]
        neurons = [
            [tag, n.layer, n.neuron, compared.named(n.runs), *_ranks(n)]
            for tag, own in compared.sets.tags.items()
            for n in own.neurons
        ]
        write_table(folder / "neurons.csv", ["tag", "layer", "neuron", "runs", *ranks], neurons)
    if compared.overlaps:
        write_table(folder / "overlap.csv", ["run", "tag_a", "tag_b", *MATRICES], [*_overlap_rows(compared)])
        head = ["runs", "tag_a", "tag_b", "count", "coefficient", "jaccard"]
        write_table(folder / "overlap_differences.csv", head, [*_overlap_differences(compared)])
    if compared.differences:
        head = ["runs", "metric", "first", "second", "difference", "low", "high", "p_value", "p_adjusted", "paired"]
        write_table(folder / "differences.csv", head, [*_difference_rows(compared)])


def answers(compared: SideBySide) -> dict[str, Any]:
    """The whole comparison as JSON; differences are second minus first."""
    sets, letters = compared.sets, compared.letters
    return {
        "format": FORMAT,
        "runs": {name: side.facts for name, side in zip(letters, compared.sides, strict=True)},
        "notes": list(compared.notes),
        "sets": None
        if sets is None
        else {
            "layers": list(sets.layers),
            "tags": {
                tag: {
                    **_counts(compared, own.counts),
                    "same_sign": own.same_sign,
                    "neurons": [_neuron(compared, neuron) for neuron in own.neurons],
                }
                for tag, own in sets.tags.items()
            },
            "union": {
                **_counts(compared, sets.union),
                "neurons": {compared.named(runs): own for runs, own in sets.union_neurons.items()},
            },
        },
        "overlap": {
            "tags": list(compared.tags),
            "runs": {
                name: {matrix: _plain(getattr(own, matrix)) for matrix in MATRICES}
                for name, own in zip(letters, compared.overlaps, strict=False)
            },
        },
        "differences": {
            compared.named(runs): {
                "paired": own.paired,
                "same_words": own.same_words,
                "accuracy": _contrast(own.accuracy),
                "f1": {tag: _contrast(contrast) for tag, contrast in own.f1.items()},
            }
            for runs, own in compared.differences.items()
        },
        "metrics": {name: dict(zip(letters, values, strict=True)) for name, values in compared.metrics().items()},
        "same_text": compared.same_text,
        "settings": {key: dict(zip(letters, values, strict=True)) for key, values in compared.settings().items()},
    }


def _counts(compared: SideBySide, counts: Counts) -> dict[str, Any]:
    return {
        "sizes": dict(zip(compared.letters, counts.sizes, strict=True)),
        "only": dict(zip(compared.letters, counts.alone, strict=True)),
        "shared": {compared.named(runs): asdict(shared) for runs, shared in counts.shared.items()},
    }


def _neuron(compared: SideBySide, neuron: SharedNeuron) -> dict[str, Any]:
    ranked = {compared.letters[run]: neuron.ranked[run] for run in neuron.runs}
    return {
        "layer": neuron.layer,
        "neuron": neuron.neuron,
        "runs": list(ranked),
        "ranks": {name: own.rank for name, own in ranked.items() if own},
        "scores": {name: own.score for name, own in ranked.items() if own},
    }


def _contrast(contrast: Contrast) -> dict[str, Any]:
    ends = asdict(contrast.difference)
    ends["difference"] = ends.pop("value")
    tested = {"p_value": contrast.p_value, "p_adjusted": contrast.p_adjusted}
    return {"first": contrast.first, "second": contrast.second, **ends, **tested}


def _plain(matrix: Shaped[ndarray, "tags tags"]) -> list[list[float | int | None]]:
    return [[None if np.isnan(value) else value for value in row] for row in matrix.tolist()]


def _ranks(neuron: SharedNeuron) -> list[object]:
    return [value for own in neuron.ranked for value in (("", "") if own is None else (own.rank, own.score))]


def _tag_rows(compared: SideBySide) -> Iterator[list[object]]:
    assert compared.sets is not None
    every = tuple(range(len(compared.sides)))
    of_tags = {tag: (own.counts, own.same_sign) for tag, own in compared.sets.tags.items()}
    for tag, (counts, same_sign) in {**of_tags, "union of the tags": (compared.sets.union, None)}.items():
        for runs, shared in counts.shared.items():
            values = [getattr(shared, name) for name in SHARED]
            signs = same_sign if runs == every else None
            row = [tag, *counts.sizes, *counts.alone, compared.named(runs), *values, signs]
            yield ["" if value is None else value for value in row]


def _overlap_rows(compared: SideBySide) -> Iterator[list[object]]:
    for name, own in zip(compared.letters, compared.overlaps, strict=True):
        for i, j in combinations(range(len(own.tags)), 2):
            yield [name, own.tags[i], own.tags[j], *(_blank(getattr(own, each)[i, j].item()) for each in MATRICES)]


def _overlap_differences(compared: SideBySide) -> Iterator[list[object]]:
    for a, b in combinations(range(len(compared.overlaps)), 2):
        first, second = compared.overlaps[a], compared.overlaps[b]
        for i, j in combinations(range(len(first.tags)), 2):
            pairs = [(getattr(first, each)[i, j].item(), getattr(second, each)[i, j].item()) for each in MATRICES[:3]]
            differences = [_blank(theirs - own) for own, theirs in pairs]
            yield [compared.named((a, b)), first.tags[i], first.tags[j], *differences]


def _blank(value: float | int) -> float | int | str:
    return "" if np.isnan(value) else value


def _difference_rows(compared: SideBySide) -> Iterator[list[object]]:
    for runs, own in compared.differences.items():
        for name, contrast in {"accuracy": own.accuracy, **{f"f1/{tag}": each for tag, each in own.f1.items()}}.items():
            values = ["" if value is None else value for value in _contrast(contrast).values()]
            first, second, low, high, difference, *tested = values
            yield [compared.named(runs), name, first, second, difference, low, high, *tested, own.paired]
