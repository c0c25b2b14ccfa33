"""Each tag by itself: a binary probe on its own key neurons, beside the same probe on matched random sets."""

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
    """F1 of a tag on its own key neurons, and on every random set matched to them."""

    f1: float
    random_f1: Float[Tensor, " sets"]


@dataclass(frozen=True)
class TagSets:
    """Sets of one size that are read for some tags: of each tag its key neurons first, then random sets."""

    columns: Mapping[str, Int[ndarray, "sets features"]]

    @property
    def all(self) -> Int[ndarray, "probes features"]:
        """Those of all tags, one row a probe."""
        return np.concatenate(list(self.columns.values()))

    def targets(self, labels: Labels) -> dict[Split, Int[Tensor, "probes _words"]]:
        """For every probe whether a word has its tag."""
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
        """What the probes of each tag come to.

        Args:
            predictions: those of all probes.
            test: whether each test word has the tag.

        Yields:
            The tags and their probes.
        """
        from keyneurons.probe.metrics import binary_f1

        f1 = binary_f1(predictions, test).reshape(len(self.columns), -1)
        for tag, row in zip(self.columns, f1, strict=True):
            yield tag, TagProbe(float(row[0]), row[1:])


def tag_sets(sets: NeuronSets, random_sets: int, seed: int) -> list[TagSets]:
    """The key neurons of every tag that has some and the random sets matched to them, by their size."""
    by_size: dict[int, dict[str, Int[ndarray, "sets features"]]] = {}
    for i, tag in enumerate(sets):
        if random_sets and (columns := sets.columns(tag)):
            own_seed = int(np.random.SeedSequence([seed, i]).generate_state(1)[0])
            drawn = matched_random_sets(columns, sets.neurons_per_layer, len(sets.layers), random_sets, own_seed)
            by_size.setdefault(len(columns), {})[tag] = np.concatenate([np.array(columns)[None], drawn])
    return [TagSets(by_size[size]) for size in sorted(by_size)]  # probes of one size are one task


def per_tag_metrics(probes: Mapping[str, TagProbe]) -> dict[str, float]:
    """F1 of every tag, and the mean over its random sets."""
    found = {f"per_tag/f1/{tag}": probe.f1 for tag, probe in probes.items()}
    return found | {f"per_tag/random_f1/{tag}": float(probe.random_f1.mean()) for tag, probe in probes.items()}
