"""Binary probes of single tags on their own key neurons and on matched random sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.analysis.controls import matched_random_sets
from keyneurons.records import Labels, NeuronSets, Split


@dataclass(frozen=True)
class TagProbe:
    """F1 of a tag on its own key neurons, and on every matched random set."""

    f1: float
    random_f1: Float[Tensor, " sets"]


@dataclass(frozen=True)
class TagSets:
    """Sets of one size for some tags: for each tag its key neurons, followed by the random sets."""

    columns: Mapping[str, Int[ndarray, "sets features"]]

    @property
    def all(self) -> Int[ndarray, "probes features"]:
        """The sets of all tags, one row per probe."""
        return np.concatenate(list(self.columns.values()))

    def classes(self, labels: Labels) -> dict[Split, Int[Tensor, "probes _words"]]:
        """The labels of each probe: 1 for words with its tag, 0 for other words."""
        return {
            split: torch.stack([
                torch.as_tensor(words.tags == labels.names.index(tag)).long()
                for tag, sets in self.columns.items()
                for _ in sets
            ])
            for split, words in labels.splits.items()
        }

    def measured(
        self, predictions: Int[Tensor, "probes words"], test: Int[Tensor, "probes words"]
    ) -> Iterator[tuple[str, TagProbe]]:
        """Measure the probes of each tag.

        Args:
            predictions: The predictions of all probes.
            test: The labels of the test words.

        Yields:
            Each tag with its results.
        """
        from keyneurons.probe.metrics import binary_f1

        f1 = binary_f1(predictions, test).reshape(len(self.columns), -1)
        for tag, row in zip(self.columns, f1, strict=True):
            yield tag, TagProbe(float(row[0]), row[1:])


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
    """F1 of every tag, and its mean over the random sets."""
    own = {f"per_tag/f1/{tag}": probe.f1 for tag, probe in probes.items()}
    return own | {f"per_tag/random_f1/{tag}": float(probe.random_f1.mean()) for tag, probe in probes.items()}
