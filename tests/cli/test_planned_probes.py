"""The probes of a plan, compared with those that a run trains."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from unittest import mock

import pytest
from user import Command, Place

from keyneurons.cli.commands import _config as configured
from keyneurons.plan.probes import ProbeSpeed, RunSizes, measure_probes, planned_probes
from keyneurons.probe import fit

ALL = (
    "control=[random,top_variance,top_variance_without_key,word_form,word_type,majority,all_neurons,task,"
    "reselected_task,pca,random_rotation]"
)
FEW = ["control.random.sets=5", "per_tag.random_sets=2", "worth.sizes=4", "worth.sets=2"]


@pytest.mark.parametrize("more", [[], [ALL], ["layer=[1,2]", "layer_by_layer.read_at=[word]"]], ids=["", "all", "two"])
def test_a_run_trains_the_planned_probes(call: Command, place: Place, tmp_path: Path, more: list[str]) -> None:
    overrides = [*place.whole, *FEW, "top_k=1", f"cache={tmp_path / 'cache'}", *more]
    trained: Counter[int] = Counter()
    sizes = 0
    train = fit.train_probes

    def count(features: object, tasks: list[fit.ProbeTask], **options: object) -> object:
        nonlocal sizes
        for task in tasks:
            trained[task.n_classes] += len(task.columns)
            sizes += task.columns.size * task.n_classes
        return train(features, tasks, **options)

    with mock.patch.object(fit, "train_probes", count):
        assert call(*overrides).status == 0
    layers = 2 if "layer=[1,2]" in more else 1
    planned = planned_probes(configured(overrides), RunSizes(layers, 4 * layers, 48 * layers, layers, 4))
    assert dict(trained) == {
        classes: sum(each.number for each in planned if each.classes == classes) for classes in (2, 4)
    }
    assert sizes <= sum(each.weights for each in planned) < 1.5 * sizes  # key neurons of two tags may be the same


def test_time_grows_with_weights_and_words() -> None:
    speed, sizes = ProbeSpeed(1e6), RunSizes(10, 150, 1536, 1, 15)
    probes = planned_probes(configured([]), sizes)
    assert speed.seconds(probes, 2000) == 2 * speed.seconds(probes, 1000) > 0


def test_the_speed_of_training_is_measured_on_noise() -> None:
    sizes = RunSizes(2, 8, 48, 1, 4)
    assert measure_probes(configured(["trainer=cpu"]), sizes).per_second > 0
