"""Several runs side by side: their sets, overlap matrices, accuracies, metrics and settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from keyneurons.analysis.overlap import Overlap
from keyneurons.analysis.run_differences import Predictions, RunDifferences
from keyneurons.analysis.shared_sets import Runs, SharedSets
from keyneurons.artifacts.key_neurons import basis_name
from keyneurons.metric_names import metric_name
from keyneurons.metrics import ACCURACY, ADVANTAGE, DEV_ACCURACY, MACRO_F1, MEAN_JACCARD, RANDOM, SELECTIVITY
from keyneurons.report.comparison.factors import differing_params
from keyneurons.report.phrases import describe_place, listed

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FIRST = (ACCURACY, DEV_ACCURACY, MACRO_F1, RANDOM, ADVANTAGE, SELECTIVITY)
PREFIXES = ("probe/", "control/", "verdict/", "worth/", "selection/union", MEAN_JACCARD)
NOT_SHOWN = ("/test_f1/", "probe/epochs", "_std", "_low", "_high")


@dataclass(frozen=True)
class Side:
    """One of the runs: its ``key_neurons.json``; metrics, params and predictions, if known.

    ``id`` identifies the run. ``derived`` are the params whose values follow from others.
    """

    id: str
    name: str
    file: Mapping[str, Any]
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    derived: tuple[str, ...]
    predictions: Predictions | None

    @property
    def facts(self) -> dict[str, str]:
        """Its origin and settings, for the head of a report."""
        file = self.file
        method = str(file["method"]) + (f" ({file['source']['method']})" if "source" in file else "")
        top_k = f", top_k {file['top_k']}" if "top_k" in file else ""
        return {
            "run": self.name,
            "model": file["model"]["id"],
            "method": f"{method}{top_k}",
            "text": f"{file['dataset']['id']}, tags from {file['tag_column']}, read at the {file['read_at']}",
            "neurons": describe_place(file["site"], file["layers"], basis_name(file)),
        }

    def f1(self, tag: str) -> float | None:
        """F1 of a tag, by the probe on all key neurons."""
        return self.metrics.get(f"probe/test_f1/{tag}", self.metrics.get(metric_name(f"probe/test_f1/{tag}")))


@dataclass(frozen=True)
class SideBySide:
    """Several runs, named A, B, ..., and their comparison.

    ``sets`` is None if their neurons are not comparable; ``not_comparable`` is the reason.
    ``overlaps`` has the overlap of every run's sets of ``tags``, those that all runs have.
    ``differences`` has the pairs of runs with predictions of test words.
    """

    sides: tuple[Side, ...]
    sets: SharedSets | None
    not_comparable: str
    tags: tuple[str, ...]
    overlaps: tuple[Overlap, ...]
    differences: Mapping[Runs, RunDifferences]

    @property
    def letters(self) -> str:
        """The names of the runs."""
        return LETTERS[: len(self.sides)]

    def named(self, runs: Runs) -> str:
        """The names of some runs: ``A B``."""
        return " ".join(self.letters[run] for run in runs)

    @property
    def same_text(self) -> bool:
        """Whether all runs used the same text."""
        return len({side.file["dataset"]["digest"] for side in self.sides}) == 1

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not compared, and what limits the comparison."""
        return (*self._notes_on_sets(), *self._notes_on_texts())

    def _notes_on_sets(self) -> Iterator[str]:
        if self.sets is None:
            yield f"The sets are not compared: {self.not_comparable}."
        else:
            revisions = [side.file["model"]["revision"] for side in self.sides]
            if len(set(revisions)) > 1:
                each = ", ".join(f"{name} {value}" for name, value in zip(self.letters, revisions, strict=True))
                yield f"The sets are of different revisions of one model: {each}."
            for name, layers in zip(self.letters, self.sets.other_layers, strict=True):
                if layers:
                    yield f"Layer {', '.join(map(str, layers))} of {name} is not read by all runs: not compared."
            for name, tags in zip(self.letters, self.sets.other_tags, strict=True):
                if tags:
                    yield f"Not all runs have the sets of {', '.join(tags)} of {name}: not compared."
        columns = list(dict.fromkeys(side.file["tag_column"] for side in self.sides))
        if len(columns) > 1:
            yield f"The tags are from different columns ({listed(columns)}) and are compared by name."

    def _notes_on_texts(self) -> Iterator[str]:
        if self.metrics() and not self.same_text:
            yield "The metrics are on different texts, so their differences are not effects of the neurons alone."
        without = [
            name
            for name, side in zip(self.letters, self.sides, strict=True)
            if side.predictions is None and ACCURACY in side.metrics
        ]
        if without:
            yield f"No predictions of {', '.join(without)} are stored: differences of accuracy and F1 have no interval."
        if unpaired := [self.named(runs) for runs, own in self.differences.items() if not own.paired]:
            yield f"Tested on different sentences, so that differences are not paired: {', '.join(unpaired)}."
        others = [self.named(runs) for runs, own in self.differences.items() if own.paired and not own.same_words]
        if others:
            yield f"Tested on different words of the same sentences: {', '.join(others)}."

    def metrics(self) -> dict[str, tuple[float, ...]]:
        """The main metrics that all runs have."""
        common = set.intersection(*(set(side.metrics) for side in self.sides))
        shown = {n for n in common if n.startswith(PREFIXES) and not any(part in n for part in NOT_SHOWN)}
        order = [*(name for name in FIRST if name in shown), *sorted(shown - set(FIRST))]
        return {name: tuple(side.metrics[name] for side in self.sides) for name in order}

    def settings(self) -> dict[str, tuple[str, ...]]:
        """The keys of the configuration that differ; empty if one is unknown."""
        params = [side.params for side in self.sides]
        if not all(params):
            return {}
        keys = differing_params(params, [side.derived for side in self.sides])
        return {key: tuple(own.get(key, "") for own in params) for key in keys}
