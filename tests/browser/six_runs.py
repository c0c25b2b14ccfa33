"""A sweep that the tests in a browser look at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Sweep:
    """A folder with the store of a sweep, and the ids of the sweep and its runs."""

    folder: Path
    parent: str
    runs: tuple[str, ...]

    def sets(self) -> list[dict[str, Any]]:
        """The key-neuron files of the runs, in their order."""
        artifacts = self.folder / "mlruns" / "artifacts"
        return [
            json.loads((artifacts / run / "artifacts" / "key_neurons.json").read_text("utf-8")) for run in self.runs
        ]
