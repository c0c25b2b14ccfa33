"""Custom selection methods: a module on the Python path, independent of this package."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from user import QUICK, Command, Ended, Place, output_folders, runs_in

MODULE = """
import torch


class Mine:
    def __init__(self, power=1):
        self.power = power

    def __call__(self, values, tags, n_tags):
        values = values.double()
        means = [(values[tags == tag].mean(0), values[tags != tag].mean(0)) for tag in range(n_tags)]
        return torch.stack([own - rest for own, rest in means]) ** self.power


def difference(values, tags, n_tags, sign=1):
    return sign * Mine()(values, tags, n_tags)


def transposed(values, tags, n_tags):
    return Mine()(values, tags, n_tags).T


class Silent:
    pass
"""
CHECKED = [each for each in QUICK if not each.startswith("reliability.")]
CHECKED += ["reliability.halves=2", "reliability.bootstraps=2", "reliability.redundancy=true"]
BY_PARTIAL = "+selection._partial_=true"


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the user's module and a folder of options."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "mypackage.py").write_text(MODULE, encoding="utf-8")
    (folder / "options" / "selection").mkdir(parents=True)
    (folder / "options" / "selection" / "mine.yaml").write_text(
        "_target_: mypackage.Mine\npower: 3\n", encoding="utf-8"
    )
    return folder


@pytest.fixture
def own(call: Command, code: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command in this process with the user's module on the path."""
    monkeypatch.syspath_prepend(str(code))

    def run(*arguments: str) -> Ended:
        return call(*arguments, *place.small)

    return run


def python_path(code: Path) -> str:
    return os.pathsep.join([str(code), *filter(None, [os.environ.get("PYTHONPATH")])])


def key_neurons(folder: Path) -> dict[str, list[int]]:
    found = json.loads((folder / "key_neurons.json").read_text("utf-8"))["tags"]
    return {tag: [neuron["neuron"] for neuron in neurons] for tag, neurons in found.items()}


@pytest.fixture(scope="module")
def expected(here: Command, place: Place, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """The result of the equivalent built-in method."""
    folder = tmp_path_factory.mktemp("expected")
    ended = here(folder, *place.small, *QUICK, "selection=mean_difference", "selection.standardised=false")
    assert ended.status == 0, ended.err
    return key_neurons(output_folders(folder)[0])


def test_by_its_target(
    command: Command, place: Place, code: Path, tmp_path: Path, expected: dict[str, list[int]]
) -> None:
    home = tmp_path / "home"
    ended = command(home, *place.small, *CHECKED, "selection._target_=mypackage.Mine", PYTHONPATH=python_path(code))
    assert ended.status == 0, ended.err
    [folder] = output_folders(home)
    assert key_neurons(folder) == expected
    assert json.loads((folder / "key_neurons.json").read_text("utf-8"))["method"] == "mypackage.Mine"
    [run] = runs_in(home)
    assert run.data.tags["selection"] == "mypackage.Mine"
    assert {f"stability/{kind}/jaccard" for kind in ("halves", "bootstrap")} <= run.data.metrics.keys()


def test_by_an_option_of_the_user(own: Command, code: Path, expected: dict[str, list[int]]) -> None:
    options = ("--config-dir", str(code / "options"))
    permuted = [
        "threshold.kind=permutation",
        "threshold.permutations=19",
        "threshold.permute=words",
        "threshold.alpha=0.5",
    ]
    ended = own(*options, "selection=mine", *CHECKED, *permuted)
    assert ended.status == 0, ended.err
    folder = output_folders(Path.cwd())[-1]
    assert json.loads((folder / "key_neurons.json").read_text("utf-8"))["method"] == "mine"
    standing = key_neurons(folder)
    assert any(standing.values())
    assert all(
        neurons == expected[tag][: len(neurons)] for tag, neurons in standing.items()
    )  # cubes preserve the ranking
    ended = own("agreement", *options, "selection=[mine,f_test]")
    assert ended.status == 0, ended.err
    assert ended.out.splitlines()[2].split()[:2] == ["mine", "f_test"]


def test_it_is_planned(own: Command, code: Path) -> None:
    ended = own("plan", "--config-dir", str(code / "options"), "selection=mine")
    assert ended.status == 0, ended.err
    assert "all neurons of 1 layer at once" in ended.out


@pytest.mark.parametrize("scope", ["layer", "model"])
def test_a_function(own: Command, expected: dict[str, list[int]], scope: str) -> None:
    ended = own("selection._target_=mypackage.difference", BY_PARTIAL, "+selection.sign=-1", f"scope={scope}", *QUICK)
    assert ended.status == 0, ended.err
    assert key_neurons(output_folders(Path.cwd())[-1]) == expected


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            ["mypackage.Mine", "threshold.kind=fdr"],
            "p-values, which selection=mypackage.Mine lacks; use threshold.kind=perm",
        ),
        (
            ["mypackage.Mine", "activations.store=moments"],
            "selection=mypackage.Mine needs the values of words",
        ),
        (["mypackage.Mine", "+selection.root=2"], "unexpected keyword argument 'root'"),
        (["mypackage.Silent"], "selection._target_=mypackage.Silent must make a callable"),
        (["mypackage.Absent"], "mypackage.Absent"),
        (["mypackage.transposed", BY_PARTIAL], "must return a tensor [tags, neurons] of shape (4, 48), got (48, 4)"),
    ],
)
def test_what_does_not_go_is_refused_in_one_line(own: Command, overrides: list[str], told: str) -> None:
    target, *rest = overrides
    ended = own(f"selection._target_={target}", *rest, *QUICK)
    assert ended.status == 1
    assert ended.error.startswith("keyneurons: error: ")
    assert told in ended.error


def test_a_folder_of_options_that_is_not_there(own: Command) -> None:
    assert "nowhere is not a folder" in own("plan", "--config-dir", "nowhere").error
