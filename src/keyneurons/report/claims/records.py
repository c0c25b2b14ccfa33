"""What runs measured, and the claims that were judged by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyneurons.analysis.claims import Verdict
from keyneurons.records import NeuronSets
from keyneurons.report.hypotheses.records import Hypotheses


@dataclass(frozen=True)
class MeasuredRun:
    """A finished run: its key neurons, metrics and effects of lesions.

    ``layer`` is the setting of the run (``all``, or -1 for the last layer), ``hypotheses`` is None
    without lesions.
    """

    name: str
    key: Mapping[str, Any]
    sets: NeuronSets
    metrics: Mapping[str, float]
    layer: object
    hypotheses: Hypotheses | None = None

    @property
    def attributed(self) -> bool:
        """Whether the key neurons were selected by integrated gradients, as in arXiv:2511.06519."""
        return str(self.key["method"]).startswith("integrated_gradients")

    @property
    def whole(self) -> bool:
        """Whether the neurons of all layers were ranked together."""
        return self.layer == "all" and self.key["scope"] == "model" and "attribution" not in self.key

    @property
    def single(self) -> bool:
        """Whether one layer of the residual stream was read at the word."""
        one_layer = len(self.sets.layers) == 1 and self.key["read_at"] == "word" and "attribution" not in self.key
        return one_layer and self.sets.site == "residual"


@dataclass(frozen=True)
class Claim:
    """A claim, its source, the rule of its verdict and the command of a run that measures it."""

    text: str
    source: str
    rule: str
    command: str


@dataclass(frozen=True)
class Judged:
    """A claim with what was measured beside its controls, the verdict and its reason.

    ``runs`` are the names of the runs that measured it.
    """

    claim: Claim
    verdict: Verdict
    measured: str
    control: str
    reason: str
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClaimPage:
    """All claims, judged by the runs of one model on one treebank."""

    facts: Mapping[str, str]
    rows: tuple[Judged, ...]
