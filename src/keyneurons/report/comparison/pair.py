"""A comparison of two runs: its records, tables and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from keyneurons.analysis.set_pair import PairedNeuron, SetPair
from keyneurons.artifacts.tables import write_table
from keyneurons.atomic_files import write_json
from keyneurons.metrics import ACCURACY, ADVANTAGE, DEV_ACCURACY, MACRO_F1, MEAN_JACCARD, RANDOM, SELECTIVITY
from keyneurons.report.comparison.factors import differing_params

FORMAT = 1
FIRST = (ACCURACY, DEV_ACCURACY, MACRO_F1, RANDOM, ADVANTAGE, SELECTIVITY)
PREFIXES = ("probe/", "control/", "verdict/", "worth/", "selection/union", MEAN_JACCARD)
NOT_SHOWN = ("/test_f1/", "probe/epochs", "_std", "_low", "_high")


@dataclass(frozen=True)
class Side:
    """One of the two runs: its ``key_neurons.json``, and metrics and params, empty if unknown.

    ``derived`` are the params whose values follow from others.
    """

    name: str
    file: Mapping[str, Any]
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    derived: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, str]:
        """Its origin and settings, for the head of a report."""
        file = self.file
        method = str(file["method"]) + (f" ({file['source']['method']})" if "source" in file else "")
        top_k = f", top_k {file['top_k']}" if "top_k" in file else ""
        layers = ", ".join(map(str, file["layers"]))
        return {
            "run": self.name,
            "method": f"{method}{top_k}",
            "text": f"{file['dataset']['id']}, tags from {file['tag_column']}, read at the {file['read_at']}",
            "neurons": f"{file['site']}, layer {layers}",
        }


@dataclass(frozen=True)
class RunPair:
    """Two runs, ``first`` (A) and ``second`` (B), and the comparison of their sets."""

    first: Side
    second: Side
    sets: SetPair

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not compared, and what limits the comparison."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        for name, layers, tags in zip("AB", self.sets.other_layers, self.sets.other_tags, strict=True):
            if layers:
                yield f"Only {name} reads layer {', '.join(map(str, layers))}: not compared."
            if tags:
                yield f"Only {name} has sets of {', '.join(tags)}: not compared."
        columns = [side.file["tag_column"] for side in (self.first, self.second)]
        if columns[0] != columns[1]:
            yield f"The tags are from different columns ({' and '.join(columns)}) and are compared by name."
        if self.metrics() and not self.same_text:
            yield "The metrics are on different texts, so their differences are not effects of the neurons alone."

    @property
    def same_text(self) -> bool:
        """Whether both runs used the same text."""
        return bool(self.first.file["dataset"]["digest"] == self.second.file["dataset"]["digest"])

    def metrics(self) -> dict[str, tuple[float, float]]:
        """The main metrics that both runs have."""
        common = self.first.metrics.keys() & self.second.metrics.keys()
        shown = {n for n in common if n.startswith(PREFIXES) and not any(part in n for part in NOT_SHOWN)}
        order = [*(name for name in FIRST if name in shown), *sorted(shown - set(FIRST))]
        return {name: (self.first.metrics[name], self.second.metrics[name]) for name in order}

    def settings(self) -> dict[str, tuple[str, str]]:
        """The keys of the configuration that differ; empty if one is unknown."""
        params = self.first.params, self.second.params
        derived = self.first.derived, self.second.derived
        if not all(params):
            return {}
        return {key: (params[0].get(key, ""), params[1].get(key, "")) for key in differing_params(params, derived)}


def write_pair(pair: RunPair, folder: Path) -> None:
    """Write ``compare.json``, ``tags.csv`` and ``neurons.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "compare.json", answers(pair))
    counts = [asdict(tag.counts) | {"same_sign": tag.same_sign} for tag in pair.sets.tags.values()]
    rows = [[tag, *_blanks(row.values())] for tag, row in zip(pair.sets.tags, counts, strict=True)]
    rows.append(["union of the tags", *_blanks(asdict(pair.sets.union).values()), ""])
    head = ["tag", "size_a", "size_b", "shared", "expected", "jaccard", "expected_jaccard", "overlap_coefficient"]
    write_table(folder / "tags.csv", [*head, "p_value", "p_adjusted", "same_sign"], rows)
    head = ["tag", "layer", "neuron", "in", "rank_a", "score_a", "rank_b", "score_b"]
    write_table(
        folder / "neurons.csv",
        head,
        [[tag, *_neuron(n).values()] for tag, own in pair.sets.tags.items() for n in own.neurons],
    )


def answers(pair: RunPair) -> dict[str, Any]:
    """The whole comparison as JSON; A is ``first``."""
    sets = pair.sets
    return {
        "format": FORMAT,
        "a": pair.first.facts,
        "b": pair.second.facts,
        "notes": list(pair.notes),
        "layers": list(sets.layers),
        "tags": {
            tag: {
                **_named(asdict(own.counts)),
                "same_sign": own.same_sign,
                "neurons": [_neuron(neuron) for neuron in own.neurons],
            }
            for tag, own in sets.tags.items()
        },
        "union": {
            **_named(asdict(sets.union)),
            "both": sets.union_neurons["both"],
            "only_a": sets.union_neurons["first"],
            "only_b": sets.union_neurons["second"],
        },
        "metrics": {name: {"a": a, "b": b, "difference": b - a} for name, (a, b) in pair.metrics().items()},
        "same_text": pair.same_text,
        "settings": {key: {"a": a, "b": b} for key, (a, b) in pair.settings().items()},
    }


def _named(counts: dict[str, Any]) -> dict[str, Any]:
    return {"size_a": counts.pop("first"), "size_b": counts.pop("second"), **counts}


def _neuron(neuron: PairedNeuron) -> dict[str, Any]:
    a, b = neuron.first, neuron.second
    return {
        "layer": neuron.layer,
        "neuron": neuron.neuron,
        "in": "a" if b is None else "b" if a is None else "both",
        "rank_a": None if a is None else a.rank,
        "score_a": None if a is None else a.score,
        "rank_b": None if b is None else b.rank,
        "score_b": None if b is None else b.score,
    }


def _blanks(values: Any) -> list[object]:
    return ["" if value is None else value for value in values]
