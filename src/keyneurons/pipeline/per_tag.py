"""Binary probes of single tags on their own key neurons and on matched random sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.analysis.controls import empirical_p_value, matched_random_sets
from keyneurons.analysis.multiple_tests import adjusted_p_values
from keyneurons.analysis.run_differences import f1 as f1_of
from keyneurons.analysis.sentence_bootstrap import Difference, SentenceBootstrap
from keyneurons.records import Labels, NeuronSets

if TYPE_CHECKING:
    from keyneurons.probe.fit import ProbeTask


@dataclass(frozen=True)
class TagProbe:
    """F1 of a tag on its own key neurons and on every matched random set, and their difference."""

    f1: float
    random_f1: Float[ndarray, " sets"]
    difference: Difference


@dataclass(frozen=True)
class TagSets:
    """Sets of one size for some tags: for each tag its key neurons, followed by the random sets."""

    columns: Mapping[str, Int[ndarray, "sets features"]]

    @property
    def all(self) -> Int[ndarray, "probes features"]:
        """The sets of all tags, one row per probe."""
        return np.concatenate(list(self.columns.values()))

    def task(self, labels: Labels) -> ProbeTask:
        """The binary probes: class 1 is the tag of the probe."""
        from keyneurons.probe.fit import ProbeTask

        classes = {
            split: torch.stack([torch.as_tensor(words.tags == labels.names.index(tag)).long() for tag in self.columns])
            for split, words in labels.splits.items()
        }
        labelling = np.repeat(np.arange(len(self.columns)), [len(sets) for sets in self.columns.values()])
        return ProbeTask(self.all, classes, 2, labelling)

    def measured(
        self, predictions: Int[Tensor, "probes words"], test: Int[Tensor, "tags words"], bootstrap: SentenceBootstrap
    ) -> Iterator[tuple[str, TagProbe]]:
        """Measure the probes of each tag.

        Args:
            predictions: The predictions of all probes.
            test: For each tag, whether a test word has it.
            bootstrap: Resamples of the test sentences.

        Yields:
            Each tag with its results.
        """
        first = 0
        for (tag, sets), true in zip(self.columns.items(), test, strict=True):
            own = slice(first, first := first + len(sets))
            yield tag, tag_probe(predictions[own].numpy() == 1, true.numpy() == 1, bootstrap)


def tag_probe(
    predicted: Bool[ndarray, "sets words"], true: Bool[ndarray, " words"], bootstrap: SentenceBootstrap
) -> TagProbe:
    """Compare F1 on a tag's key neurons (the first set) with F1 on random sets (the others)."""
    f1 = f1_of((predicted & true).sum(axis=1), predicted.sum(axis=1), np.array([true.sum()]))
    hits, positives = bootstrap.sums(predicted & true), bootstrap.sums(predicted)
    resampled = f1_of(hits, positives, bootstrap.sums(true[None]))
    difference = resampled[:, 0] - bootstrap.one_of(resampled[:, 1:])
    least_p = empirical_p_value(float(f1[0]), f1[1:])
    return TagProbe(float(f1[0]), f1[1:], Difference.tested(f1[0] - f1[1:].mean(), difference, least_p))


def tag_sets(sets: NeuronSets, random_sets: int, seed: int) -> list[TagSets]:
    """The key neurons of every tag that has any, with matched random sets, grouped by size."""
    by_size: dict[int, dict[str, Int[ndarray, "sets features"]]] = {}
    for i, tag in enumerate(sets):
        if random_sets and (columns := sets.columns(tag)):
            own_seed = int(np.random.SeedSequence([seed, i]).generate_state(1)[0])
            drawn = matched_random_sets(columns, sets.neurons_per_layer, len(sets.layers), random_sets, own_seed)
            by_size.setdefault(len(columns), {})[tag] = np.concatenate([np.array(columns)[None], drawn])
    return [TagSets(by_size[size]) for size in sorted(by_size)]  # probes of one size are trained together


def per_tag_metrics(probes: Mapping[str, TagProbe]) -> dict[str, float]:
    """F1 of every tag, its mean over the random sets, and their difference with interval and p."""
    values: dict[str, float] = {}
    for tag, probe in probes.items():
        values[f"per_tag/f1/{tag}"] = probe.f1
        values[f"per_tag/random_f1/{tag}"] = float(probe.random_f1.mean())
        values |= {f"{name}/{tag}": value for name, value in probe.difference.metrics("per_tag/difference").items()}
        values[f"per_tag/p_value/{tag}"] = probe.difference.p_value
    adjusted = adjusted_p_values({tag: probe.difference.p_value for tag, probe in probes.items()})
    return values | {f"per_tag/p_adjusted/{tag}": p_value for tag, p_value in adjusted.items()}
