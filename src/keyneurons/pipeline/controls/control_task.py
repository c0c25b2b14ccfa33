"""Would the key neurons tell any labels of the words?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keyneurons.analysis.controls import control_task_tags
from keyneurons.metrics import SELECTIVITY
from keyneurons.pipeline.controls.control import Case, Trial
from keyneurons.records import SPLITS


@dataclass(frozen=True)
class ControlTask:
    """The probe on the key neurons, trained on a random tag for each word type (Hewitt & Liang 2019)."""

    label: ClassVar[str] = "control task (a random tag for each word type)"
    contrast: ClassVar[str | None] = SELECTIVITY

    def reads(self, n_key: int, n_neurons: int) -> int:
        """None but the key neurons."""
        return 0

    def __call__(self, case: Case) -> Trial:
        """Draw the tags of the word types."""
        labels = case.labels
        forms = [labels.splits[split].forms for split in SPLITS]
        tags = control_task_tags(forms, labels.splits["train"].tags, len(labels.names), case.seed)
        return Trial(case.union[None], tags=dict(zip(SPLITS, tags, strict=True)))
