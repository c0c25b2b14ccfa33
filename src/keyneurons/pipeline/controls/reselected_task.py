"""Control: do neurons selected for arbitrary labels of word types predict those labels as well?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from keyneurons.analysis.controls import control_task_tags, matched_random_sets
from keyneurons.choices import ControlRole
from keyneurons.metrics import SPECIFICITY
from keyneurons.pipeline.controls.control import Case, NotApplicable, Trial
from keyneurons.records import SPLITS, Labels


@dataclass(frozen=True)
class ReselectedTask:
    """The control task with neurons that the same method selects for its labels.

    Each of ``draws`` gives every word type a random tag (Hewitt & Liang 2019), selects key neurons
    for these labels, and trains the probe on them and on ``sets`` matched random sets. The
    difference to the key neurons is the specificity: the advantage of the key neurons over random
    sets minus the advantage of the reselected neurons over theirs.
    """

    label: ClassVar[str] = "neurons reselected for a random tag of each word type"
    contrast: ClassVar[str | None] = SPECIFICITY
    role: ClassVar[ControlRole | None] = "labels"

    draws: int
    sets: int

    def __post_init__(self) -> None:
        """Check the numbers of draws and sets.

        Raises:
            ValueError: One of them is below 1.
        """
        for name in ("draws", "sets"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def reads(self, n_key: int, n_neurons: int) -> int:
        """The number of reselected and random neurons of all draws, at most all neurons."""
        return min(n_neurons, self.draws * (1 + self.sets) * n_key)

    def trains(self, n_key: int, n_neurons: int) -> tuple[int, int]:
        """The reselected neurons and their random sets, for every draw."""
        return self.draws * (1 + self.sets), n_key

    def __call__(self, case: Case) -> tuple[Trial, ...]:
        """Draw labels, select neurons for them, and draw their random sets.

        Raises:
            NotApplicable: The method cannot select again, or selects no neuron for some labels.
        """
        if case.reselect is None:
            raise NotApplicable("the neurons were not selected on these words")
        drawn = zip(self.relabelled(case.labels, case.seed), self._seeds(case.seed), strict=True)
        return tuple(self._trial(case, labels, seed) for labels, seed in drawn)

    def relabelled(self, labels: Labels, seed: int) -> tuple[Labels, ...]:
        """The labels of every draw."""
        return tuple(control_labels(labels, own) for own in self._seeds(seed))

    def _seeds(self, seed: int) -> list[int]:
        seeds: list[int] = np.random.SeedSequence([seed, 1]).generate_state(self.draws).tolist()
        return seeds

    def _trial(self, case: Case, labels: Labels, seed: int) -> Trial:
        assert case.reselect is not None
        sets = case.reselect(labels, case.activations)
        columns = sets.union()
        if not columns:
            raise NotApplicable("the method selects no neuron for labels without grammar")
        random = matched_random_sets(columns, sets.neurons_per_layer, len(sets.layers), self.sets, seed)
        tags = {split: labels.splits[split].tags for split in SPLITS}
        return Trial(np.concatenate([np.array([columns]), random]), tags=tags, baselines=self.sets)


def control_labels(labels: Labels, seed: int) -> Labels:
    """The labels of a control task: a random tag for each word type."""
    types = [labels.splits[split].types for split in SPLITS]
    tags = control_task_tags(types, labels.splits["train"].tags, len(labels.names), seed)
    splits = {split: replace(labels.splits[split], tags=own) for split, own in zip(SPLITS, tags, strict=True)}
    return replace(labels, splits=splits)
