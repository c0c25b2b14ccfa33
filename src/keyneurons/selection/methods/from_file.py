"""Key neurons from a file instead of a selection method."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FromFile:
    """Names given neuron sets: a ``key_neurons.json``, the folder of a run, or an MLflow run id.

    It is not a scorer: neurons outside the sets have no scores, so nothing can be selected again.
    """

    path: str

    def __post_init__(self) -> None:
        if not isinstance(self.path, str) or not self.path.strip():
            raise ValueError(f"path must be a key_neurons.json, a run's folder or a run id, got {self.path!r}")
