"""Control: how well does the form of a word predict its tag, also for new words?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keyneurons.analysis.word_form import word_form_predictions
from keyneurons.choices import ControlRole
from keyneurons.pipeline.controls.control import Case, Trial
from keyneurons.pipeline.trial_results import result_key
from keyneurons.records import SPLITS


@dataclass(frozen=True)
class WordForm:
    """Logistic regression on features of the form alone: affixes, shape, digits, capitals, length.

    No model and no context. The predictions depend on the labels only.
    """

    label: ClassVar[str] = "form of the word alone"
    contrast: ClassVar[str | None] = None
    role: ClassVar[ControlRole | None] = "form"

    def reads(self, n_key: int, n_neurons: int) -> int:
        """0: the control reads no neurons."""
        return 0

    def trains(self, n_key: int, n_neurons: int) -> tuple[int, int]:
        """No probe of activations."""
        return 0, 0

    def __call__(self, case: Case) -> Trial:
        """Fit the regression on train and predict the tags of the test words."""
        splits, n_tags = case.labels.splits, len(case.labels.names)
        forms = {split: words.forms for split, words in splits.items()}
        tags = {split: words.tags for split, words in splits.items()}
        key = result_key("word_form", n_tags, *(part for split in SPLITS for part in (forms[split], tags[split])))
        return Trial(predictions=case.results.get(key, lambda: word_form_predictions(forms, tags, n_tags)))
