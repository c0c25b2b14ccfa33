"""What a control is: it says what else the probe is trained on, or which tags it predicts without one."""

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
    """What controls are matched to: the labelled words, their activations, the key neurons and the seed of the run."""

    labels: Labels
    activations: Activations
    sets: NeuronSets
    seed: int

    @property
    def union(self) -> Int[ndarray, " neurons"]:
        """The key neurons of all tags: ascending positions, the layers side by side."""
        return np.array(self.sets.union(), dtype=np.int64)

    @property
    def n_neurons(self) -> int:
        """Number of neurons of all layers."""
        return len(self.sets.layers) * self.sets.neurons_per_layer


@dataclass(frozen=True)
class Trial:
    """What a control is measured by: probes to train, or predictions of the test words that need no probe.

    Probes read ``columns``, one row a probe, and learn ``tags``, where there are some, in place of the words' own.
    Those of a ``shared`` trial do not depend on the key neurons, so runs on the same words share their results.
    """

    columns: Int[ndarray, "draws features"] | None = None
    tags: Mapping[Split, Int[ndarray, " _words"]] | None = None
    shared: bool = False
    predictions: Int[ndarray, " words"] | None = None

    def __post_init__(self) -> None:
        """Check that there is one of the two.

        Raises:
            ValueError: there is none, or there are both.
        """
        if (self.columns is None) == (self.predictions is None):
            raise ValueError("a control trains probes on columns or gives predictions: one of the two")

    @property
    def draws(self) -> int:
        """Number of its probes, or of its predictions of the test words."""
        return 1 if self.columns is None else len(self.columns)


@runtime_checkable
class Control(Protocol):
    """The measurement of the key neurons on something matched that should not carry the effect."""

    @property
    def label(self) -> str:
        """What people read, such as ``matched random sets``."""
        ...

    @property
    def contrast(self) -> str | None:
        """Name of the metric that is the accuracy of the key neurons less that of this control, if it has one."""
        ...

    def reads(self, n_key: int, n_neurons: int) -> int:
        """How many neurons it reads at most beside the ``n_key`` key neurons, of ``n_neurons`` in all."""
        ...

    def __call__(self, case: Case) -> Trial:
        """What is trained or predicted in this case."""
        ...
