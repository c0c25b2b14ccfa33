"""Runs of several checkpoints in the order of their steps: tables, page and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from comparing import asked, comparison, file, printed, run, shown

from keyneurons.artifacts.run_sets import explain_groups
from keyneurons.report.comparison.tables import answers, write_tables


def checkpoints(*folders: str, method: str = "correlation", **model: object) -> tuple[list, list]:
    runs, files = [], []
    for i, folder in enumerate(folders):
        runs.append(run(f"{method}{i}", asked(method, 2, **{"model.folder": folder}), 0.5 + i / 10))
        own = {"id": f"toy/{folder.rpartition('/')[2]}", "revision": f"r{i}", **model}
        files.append(file(i, i + 1, **own))
    return runs, files


def test_steps_are_ordered_as_numbers() -> None:
    found = comparison(*checkpoints("a/checkpoint-9", "a/checkpoint-100", "a/checkpoint-20"))
    [each] = found.trajectories
    assert each.title == "toy/checkpoint-*, mlp"
    assert each.steps == (9, 20, 100)
    assert [row.id for row in each.rows] == ["correlation0", "correlation2", "correlation1"]
    assert [row.id for row in found.rows] == ["correlation0", "correlation2", "correlation1"]  # in every table
    assert each.settled() == [0, 0.5, 1]  # neuron 2 of {1, 2} is in {2, 3}, not in {0, 1}
    assert each.half_settled("NOUN") == 20
    assert answers(found)["trajectories"] == [
        {"name": each.title, "steps": {9: "correlation0", 20: "correlation2", 100: "correlation1"}}
    ]


def test_each_method_has_its_own_trajectory(tmp_path: Path) -> None:
    one, other = (checkpoints("step_0", "step_4", method=method) for method in ("correlation", "random"))
    found = comparison(one[0] + other[0], one[1] + other[1])
    assert [each.title for each in found.trajectories] == ["toy/step_*, mlp, correlation", "toy/step_*, mlp, random"]
    page = shown(found)
    assert page.told.count("F1 of tag at step") == 2
    assert "accuracy 0.500 at step 0 and 0.600 at step 4" in printed(found)
    write_tables(found, tmp_path)
    assert len((tmp_path / "trajectory.csv").read_text("utf-8").splitlines()) == 1 + 2 * 2
    assert len((tmp_path / "trajectory_neurons.csv").read_text("utf-8").splitlines()) == 1 + 2 * 3


@pytest.mark.parametrize("folders", [("step_0", "step_0"), ("final", "best"), ("step_0", "final")])
def test_without_two_steps_there_is_no_trajectory(folders: tuple[str, str]) -> None:
    found = comparison(*checkpoints(*folders))
    assert found.trajectories == ()
    assert "Over training" not in shown(found).told + printed(found)


def test_revisions_of_another_architecture_are_no_part_and_named() -> None:
    runs, files = checkpoints("step_0", "step_4", "step_8")
    files[2]["neurons_per_layer"], files[2]["model"]["architecture"] = 64, "wide"
    found = comparison(runs, files)
    assert [each.steps for each in found.trajectories] == [(0, 4)]
    message = explain_groups(found.groups)
    assert message is not None
    assert "Neurons of different architecture and neurons_per_layer are not comparable" in message


def test_sets_of_trainings_in_different_folders_are_not_compared() -> None:
    runs, files = checkpoints("step_0", "step_4")
    files[1]["model"]["id"] = "other/step_4"
    found = comparison(runs, files)
    assert found.trajectories == ()
    assert found.not_compared is not None
    assert "filter=tags.model LIKE 'toy/step_%'" in found.not_compared
