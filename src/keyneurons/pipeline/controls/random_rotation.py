"""Control: are neurons better than the coordinates of a random rotation?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from keyneurons.analysis.axes import random_orthogonal
from keyneurons.choices import ControlRole
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.controls.control import Case, NotApplicable, Trial
from keyneurons.records import SPLITS, Labels, Split

Rotated = dict[Split, Float[Tensor, "_words _columns"]]


@dataclass(frozen=True)
class RandomRotation:
    """The probe on coordinates that the same method selects after a random rotation of each layer.

    Each of ``draws`` multiplies the standardised activations of every layer by a random orthogonal
    matrix; without standardisation, a few neurons of huge variance would dominate all coordinates.
    The method selects as before, without a threshold, so the number of coordinates may differ from
    that of the key neurons. Memory: the labelled words in float32, twice, and three matrices of a
    layer's width squared in float64.
    """

    label: ClassVar[str] = "coordinates selected after a random rotation"
    contrast: ClassVar[str | None] = None
    role: ClassVar[ControlRole | None] = None

    draws: int

    def __post_init__(self) -> None:
        """Check the number of draws.

        Raises:
            ValueError: It is below 1.
        """
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1, got {self.draws}")

    def reads(self, n_key: int, n_neurons: int) -> int:
        """All neurons of the layers read."""
        return n_neurons

    def trains(self, n_key: int, n_neurons: int) -> tuple[int, int]:
        """One probe for every rotation."""
        return self.draws, n_key

    def __call__(self, case: Case) -> tuple[Trial, ...]:
        """Rotate the layers and select coordinates.

        Raises:
            NotApplicable: The method cannot select again, the activations are not stored, matrices
                exceed the free memory, or no coordinate is selected.
        """
        if case.reselect is None:
            raise NotApplicable("the neurons were not selected on these words")
        case.check_stored()
        assert isinstance(case.activations, StoredActivations)
        case.check_memory(3 * 8 * case.sets.neurons_per_layer**2)
        layers = [case.standardised(i) for i in range(len(case.sets.layers))]
        seeds = np.random.SeedSequence([case.seed, 2]).generate_state(self.draws)
        drawn = [_selected(case, case.activations, layers, int(seed)) for seed in seeds]
        sizes = [features["train"].shape[1] for features in drawn]
        return tuple(
            Trial(
                np.arange(size)[None],
                features=features,
                facts={"coordinates": float(np.mean(sizes))},
                note=f"{', '.join(map(str, sizes))} coordinates",
            )
            for size, features in zip(sizes, drawn, strict=True)
        )


def _selected(case: Case, stored: StoredActivations, layers: list[Rotated], seed: int) -> Rotated:
    """The coordinates that the method selects after one random rotation of each layer.

    Raises:
        NotApplicable: No coordinate is selected.
    """
    width = case.sets.neurons_per_layer
    seeds = np.random.SeedSequence(seed).generate_state(len(layers))
    turns = [torch.from_numpy(random_orthogonal(width, int(own)).astype(np.float32)) for own in seeds]
    names = case.sets.layers
    arrays = {name: (own["train"] @ turn).numpy() for name, own, turn in zip(names, layers, turns, strict=True)}
    assert case.reselect is not None
    rotated = StoredActivations({"train": arrays}, stored.site, stored.device)
    columns = np.array(case.reselect(_of_labelled_words(case.labels), rotated).union(), dtype=np.int64)
    if not len(columns):
        raise NotApplicable("the method selects no coordinate after a rotation")
    place, coordinate = np.divmod(columns, width)
    return {
        split: torch.cat([layers[i][split] @ turns[i][:, coordinate[place == i]] for i in np.unique(place)], dim=1)
        for split in SPLITS
    }


def _of_labelled_words(labels: Labels) -> Labels:
    """The same labels for arrays that have the labelled words only."""
    splits = {split: replace(words, rows=np.arange(len(words.rows))) for split, words in labels.splits.items()}
    return replace(labels, splits=splits)
