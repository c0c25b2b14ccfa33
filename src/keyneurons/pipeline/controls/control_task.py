"""Control: do the key neurons predict arbitrary labels of word types as well?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keyneurons.analysis.controls import control_task_tags
from keyneurons.choices import ControlRole
from keyneurons.metrics import SELECTIVITY
from keyneurons.pipeline.controls.control import Case, Trial
from keyneurons.records import SPLITS


@dataclass(frozen=True)
class ControlTask:
    """The probe on the key neurons with a random tag for each word type (Hewitt & Liang 2019)."""

    label: ClassVar[str] = "control task (a random tag for each word type)"
    contrast: ClassVar[str | None] = SELECTIVITY
    role: ClassVar[ControlRole | None] = None

    def reads(self, n_key: int, n_neurons: int) -> int:
        """0: the control reads the key neurons only."""
        return 0

    def trains(self, n_key: int, n_neurons: int) -> tuple[int, int]:
        """A single probe."""
        return 1, n_key

    def __call__(self, case: Case) -> Trial:
        """Draw a random tag for each word type."""
        labels = case.labels
        forms = [labels.splits[split].types for split in SPLITS]
        tags = control_task_tags(forms, labels.splits["train"].tags, len(labels.names), case.seed)
        return Trial(case.union[None], tags=dict(zip(SPLITS, tags, strict=True)))
