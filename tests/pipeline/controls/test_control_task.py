"""The control task assigns one tag to every word type, the same in all splits."""

from __future__ import annotations

import numpy as np
from planting import KEY_SETS, case

from keyneurons.pipeline.controls.control_task import ControlTask
from keyneurons.records import SPLITS


def test_the_key_neurons_learn_a_tag_for_each_word_type() -> None:
    here = case()
    trial = ControlTask()(here)
    assert trial.columns is not None
    assert trial.tags is not None
    assert trial.columns.tolist() == [KEY_SETS.union()]
    tag_of: dict[str, int] = {}
    for split in SPLITS:
        words = here.labels.splits[split]
        assert len(trial.tags[split]) == len(words.rows)
        for form, tag in zip(words.types, trial.tags[split], strict=True):
            assert tag_of.setdefault(form, int(tag)) == tag
    assert len(set(tag_of.values())) > 1
    assert not np.array_equal(trial.tags["test"], here.labels.splits["test"].tags)


def test_nothing_else_is_read() -> None:
    assert ControlTask().reads(5, 100) == 0
