"""The interface of a control, which defines other probes or predictions without a probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from keyneurons.pipeline.activations import Activations
from keyneurons.records import Labels, NeuronSets, Split


@dataclass(frozen=True)
class Case:
    """The input of a control: labelled words, activations, key neurons and the run's seed."""

    labels: Labels
    activations: Activations
    sets: NeuronSets
    seed: int

    @property
    def union(self) -> Int[ndarray, " neurons"]:
        """The key neurons of all tags as ascending positions in the concatenated layers."""
        return np.array(self.sets.union(), dtype=np.int64)

    @property
    def n_neurons(self) -> int:
        """Number of neurons in all layers."""
        return len(self.sets.layers) * self.sets.neurons_per_layer


@dataclass(frozen=True)
class Trial:
    """The measurement of a control: probes to train, or predictions of the test words.

    Each row of ``columns`` holds the neurons of one probe. ``tags`` replace the words' own tags as
    labels. Probes of a ``shared`` trial do not depend on the key neurons, so runs on the same words
    share their results.
    """

    columns: Int[ndarray, "draws features"] | None = None
    tags: Mapping[Split, Int[ndarray, " _words"]] | None = None
    shared: bool = False
    predictions: Int[ndarray, " words"] | None = None

    def __post_init__(self) -> None:
        """Check that exactly one of ``columns`` and ``predictions`` is set.

        Raises:
            ValueError: Neither or both are set.
        """
        if (self.columns is None) == (self.predictions is None):
            raise ValueError(
                "a control has either columns to train probes on or predictions: set exactly one of the two"
            )

    @property
    def draws(self) -> int:
        """Number of probes; 1 for predictions."""
        return 1 if self.columns is None else len(self.columns)


@runtime_checkable
class Control(Protocol):
    """The same measurement on matched input that should not carry the effect."""

    @property
    def label(self) -> str:
        """Name in reports, such as ``matched random sets``."""
        ...

    @property
    def contrast(self) -> str | None:
        """Name of the metric for accuracy of the key neurons minus accuracy of the control."""
        ...

    def reads(self, n_key: int, n_neurons: int) -> int:
        """Largest number of neurons that the control reads besides the key neurons.

        ``n_key`` is the number of key neurons, ``n_neurons`` that of all neurons.
        """
        ...

    def __call__(self, case: Case) -> Trial:
        """Define the probes or the predictions for a case."""
        ...
