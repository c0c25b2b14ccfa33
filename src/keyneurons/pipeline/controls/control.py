"""The interface of a control, which defines other probes or predictions without a probe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import psutil
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.choices import ControlRole
from keyneurons.pipeline.activations import Activations, StoredActivations
from keyneurons.pipeline.trial_results import ResultStore
from keyneurons.records import Labels, NeuronSets, Split
from keyneurons.selection.views import VALUE

BUDGET_BYTES = 2**28  # of reading the activations; their variance does not depend on it

Reselect = Callable[[Labels, Activations], NeuronSets]
"""Selects key neurons with the run's own method: for other labels, or for other activations."""


class NotApplicable(Exception):
    """A control cannot be measured in a case; the message is the reason."""


@dataclass(frozen=True)
class Case:
    """The input of a control: labelled words, activations, key neurons and the run's seed.

    ``sentences`` numbers the sentence of every test word. ``reselect`` is None where the method
    cannot select again (sets from a file, single layers). ``results`` caches results on disk:
    ``case.results.get(result_key(...), compute)``.
    """

    labels: Labels
    activations: Activations
    sets: NeuronSets
    sentences: Int[ndarray, " test_words"]
    seed: int
    reselect: Reselect | None = None
    results: ResultStore = ResultStore()

    @cached_property
    def union(self) -> Int[ndarray, " neurons"]:
        """The key neurons of all tags as ascending positions in the concatenated layers."""
        return np.array(self.sets.union(), dtype=np.int64)

    @cached_property
    def n_key(self) -> Int[ndarray, " layers"]:
        """Number of key neurons of all tags in each layer."""
        return np.bincount(self.union // self.sets.neurons_per_layer, minlength=len(self.sets.layers))

    @property
    def n_neurons(self) -> int:
        """Number of neurons in all layers."""
        return len(self.sets.layers) * self.sets.neurons_per_layer

    @cached_property
    def variance(self) -> Float[ndarray, "layers neurons"]:
        """Sum of squared deviations of every neuron over the labelled train words."""
        tags = self.labels.splits["train"].tags[None]
        [moments] = self.activations.source(self.labels, "layer", BUDGET_BYTES).moments(tags, [VALUE])[VALUE]
        variance: ndarray = moments.total_squares().cpu().numpy().reshape(-1, self.sets.neurons_per_layer)
        return variance

    def standardised(self, place: int) -> dict[Split, Float[Tensor, "_words neurons"]]:
        """All activations of a layer (by its place) in float32, standardised on the train words.

        A neuron that is constant in train is 0 everywhere.

        Raises:
            NotApplicable: They exceed the free memory.
        """
        from keyneurons.probe.standardise import PIECE, Standardiser

        width = self.sets.neurons_per_layer
        self.check_memory(2 * 4 * width * sum(len(words.rows) for words in self.labels.splits.values()))
        values = self.activations.columns(self.labels, np.arange(place * width, (place + 1) * width))
        standardiser = Standardiser.fit(piece.float() for piece in torch.split(values["train"], PIECE))
        return {split: standardiser(own.float()) for split, own in values.items()}

    def check_memory(self, needed: int) -> None:
        """Check that a number of bytes is free.

        Raises:
            NotApplicable: It is not.
        """
        if needed > (free := psutil.virtual_memory().available):
            units = f"{self.sets.neurons_per_layer} {self.sets.basis} of a layer"
            raise NotApplicable(f"{units} need {needed / 1e9:.0f} GB of memory, of which {free / 1e9:.0f} GB are free")

    def check_stored(self) -> None:
        """Check that the activations of all neurons are stored.

        Raises:
            NotApplicable: Only moments and single columns are.
        """
        if not isinstance(self.activations, StoredActivations):
            raise NotApplicable("the activations of all neurons are not stored (activations.store=true)")

    def check_others(self) -> None:
        """Check that every layer has as many other neurons as key neurons.

        Raises:
            NotApplicable: A layer has fewer.
        """
        width = self.sets.neurons_per_layer
        for layer, n in zip(self.sets.layers, self.n_key.tolist(), strict=True):
            if 2 * n > width:
                raise NotApplicable(
                    f"{n} of the {width} neurons of layer {layer} are key neurons, which leaves too few"
                )

    @cached_property
    def unseen(self) -> Bool[ndarray, " test_words"]:
        """Whether the type of each test word is absent from train."""
        known = set(self.labels.splits["train"].types)
        return np.array([form not in known for form in self.labels.splits["test"].types], dtype=bool)


@dataclass(frozen=True)
class Trial:
    """Probes to train, or predictions of the test words.

    Each row of ``columns`` holds the neurons of one probe. ``tags`` replace the words' own tags as
    labels, ``features`` the activations (``columns`` are then columns of them). The last
    ``baselines`` rows are random sets that the first row is compared with. ``facts`` are logged as
    ``control/NAME/FACT``, ``note`` is shown beside the accuracy.
    """

    columns: Int[ndarray, "draws features"] | None = None
    tags: Mapping[Split, Int[ndarray, " _words"]] | None = None
    features: Mapping[Split, Float[Tensor, "_words _columns"]] | None = None
    baselines: int = 0
    predictions: Int[ndarray, " words"] | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        """Check that exactly one of ``columns`` and ``predictions`` is set.

        Raises:
            ValueError: Neither or both are set, or every row is a baseline.
        """
        if (self.columns is None) == (self.predictions is None):
            raise ValueError(
                "a control has either columns to train probes on or predictions: set exactly one of the two"
            )
        if not 0 <= self.baselines < self.draws:
            raise ValueError(f"baselines must be fewer than the {self.draws} draws, got {self.baselines}")

    @property
    def draws(self) -> int:
        """Number of probes; 1 for predictions."""
        return 1 if self.columns is None else len(self.columns)


@runtime_checkable
class Relabelling(Protocol):
    """A control that selects neurons for other labels of the same words."""

    def relabelled(self, labels: Labels, seed: int) -> Iterable[Labels]:
        """The labels that it selects neurons for."""
        ...


@runtime_checkable
class Control(Protocol):
    """The same measurement on matched input that should not carry the effect."""

    @property
    def label(self) -> str:
        """Name in reports, such as ``matched random sets``."""
        ...

    @property
    def contrast(self) -> str | None:
        """Metric of the difference to the key neurons; None for ``control/NAME/difference``."""
        ...

    @property
    def role(self) -> ControlRole | None:
        """What the verdict concludes from the control; None if it is only shown.

        ``random``: as many random neurons; ``label_free``: as many neurons chosen without tags;
        ``form``: predictions from the word form; ``labels``: neurons selected for labels without
        grammar.
        """
        ...

    def reads(self, n_key: int, n_neurons: int) -> int:
        """Largest number of neurons that the control reads besides the key neurons.

        ``n_key`` is the number of key neurons, ``n_neurons`` that of all neurons.
        """
        ...

    def trains(self, n_key: int, n_neurons: int) -> tuple[int, int]:
        """Number of probes, and number of neurons of each, for the plan of a run."""
        ...

    def __call__(self, case: Case) -> Trial | tuple[Trial, ...]:
        """Define the probes or the predictions for a case; several trials have different tags.

        Raises:
            NotApplicable: The control cannot be measured in this case.
        """
        ...
