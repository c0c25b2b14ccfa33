"""Control: how well does the word form predict the tag, without a model?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keyneurons.analysis.controls import word_type_predictions
from keyneurons.choices import ControlRole
from keyneurons.pipeline.controls.control import Case, Trial


@dataclass(frozen=True)
class WordType:
    """The most frequent tag of the word in train; the majority tag for words that train lacks."""

    label: ClassVar[str] = "most frequent tag of the word in train"
    contrast: ClassVar[str | None] = None
    role: ClassVar[ControlRole | None] = "form"

    def reads(self, n_key: int, n_neurons: int) -> int:
        """0: the control reads no neurons."""
        return 0

    def trains(self, n_key: int, n_neurons: int) -> tuple[int, int]:
        """No probe."""
        return 0, 0

    def __call__(self, case: Case) -> Trial:
        """Predict the tags of the test words."""
        train, test = case.labels.splits["train"], case.labels.splits["test"]
        return Trial(predictions=word_type_predictions(train.types, train.tags, test.types, len(case.labels.names)))
