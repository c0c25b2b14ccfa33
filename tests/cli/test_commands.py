"""Help, completion and the commands other than runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from user import Command, Place

from keyneurons.cli.command_line import COMMANDS
from keyneurons.version import __version__


def test_help_lists_groups_and_values_without_loading_anything_heavy(
    environment: dict[str, str], tmp_path: Path
) -> None:
    code = (
        "import sys; sys.argv = ['keyneurons', '--help']\n"
        "from keyneurons.cli.main import main\n"
        "try: main()\n"
        "finally: print('LOADED', *(n for n in ('torch', 'mlflow', 'hydra', 'transformers') if n in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    for line in (
        "dataset (default: starter)",
        "  average_precision               average precision of the neuron as a detector",
        "  top_k=10                        key neurons per tag [integer > 0]",
        "    model.revision=main           branch, tag or commit [text]",
        f"keyneurons {' | '.join(COMMANDS)}",
    ):
        assert line in done.stdout
    assert done.stdout.splitlines()[-1].strip() == "LOADED"
    assert list(tmp_path.iterdir()) == []


def test_the_module_is_the_script(environment: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "keyneurons", "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Groups and options" in done.stdout


def test_the_version_is_ours(call: Command) -> None:
    assert call("--version").out == f"keyneurons {__version__}\n"
    assert call("top_k=3", "--version").out == f"keyneurons {__version__}\n"


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("keyneurons selection=l", ["selection=l1_probe", "selection=lape", "selection=linear_weights"]),
        ("keyneurons selection=mutual_information_", ["selection=mutual_information_knn"]),
        ("keyneurons top", ["top_k="]),
        ("keyneurons dataset=starter dataset.min", ["dataset.min_words_per_tag="]),
    ],
)
def test_the_shell_completes_groups_options_and_keys(
    command: Command, tmp_path: Path, line: str, offered: list[str]
) -> None:
    ended = command(tmp_path, "-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line)))
    assert ended.status == 0
    assert ended.out.split() == offered


@pytest.mark.parametrize("name", ["fetch", "agreement", "cache", "log", "ui"])
def test_every_command_has_its_own_help(call: Command, name: str) -> None:
    ended = call(name, "--help")
    assert ended.status == 0
    assert ended.out.startswith(f"usage: keyneurons {name}")


@pytest.mark.parametrize("days", ["nan", "-1", "-0.5", "-inf", "a"])
def test_what_is_no_number_of_days_prunes_nothing(
    call: Command, environment: dict[str, str], tmp_path: Path, days: str
) -> None:
    with mock.patch.dict(environment, KEYNEURONS_CACHE=str(tmp_path)):
        ended = call("cache", "prune", f"--older-than={days}")
    assert ended.status == 1
    assert f"must be a number of days, 0 or more, got '{days}'" in ended.error


def test_the_cache_is_listed_and_pruned(
    call: Command, place: Place, environment: dict[str, str], tmp_path: Path
) -> None:
    environment["KEYNEURONS_CACHE"], usual = str(tmp_path / "own"), environment["KEYNEURONS_CACHE"]
    try:
        assert call("cache").out.startswith("0 entries, 0.00 GB in ")
        assert call(*place.small).status == 0
        listed = call("cache", "list")
        *entries, total, probes = listed.out.splitlines()
        assert len(entries) == 3
        assert all("llama (sha256-" in entry and "1 array," in entry for entry in entries)
        assert total.startswith("3 entries")
        assert re.match(r"[1-9]\d* probe results, 0.00 GB in ", probes)
        assert call("cache", "prune", "--older-than", "1").out.startswith("removed 0 entries")
        assert call("cache", "prune", "--older-than", "0").out.startswith("removed 3 entries")
        assert call("cache").out.startswith("0 entries")
        assert not list((tmp_path / "own" / "activations").rglob("*.npy"))
        assert not list((tmp_path / "own" / "probes").iterdir())
    finally:
        environment["KEYNEURONS_CACHE"] = usual


def test_fetch_says_where_a_model_is(call: Command, place: Place) -> None:
    ended = call("fetch", "model=local", f"model.folder={place.llama}")
    assert ended.status == 0
    assert ended.out.startswith("llama (sha256-")
    assert ended.out.endswith(f"is in {place.llama}\n")
    assert ended.err == ""


def test_sending_many_folders_names_each(call: Command, place: Place) -> None:
    uri = "tracking.uri=sqlite:///first.db"
    assert call(*place.small, uri).status == 0
    [folder] = Path("outputs").glob("*/*")
    (folder / "mlflow_run.json").unlink()
    ended = call("log", str(folder), "--set", "tracking.uri=sqlite:///second.db")
    assert ended.status == 0, ended.err
    assert ended.out.startswith(f"sent {folder} to sqlite:///")
    assert Path("second.db").is_file()
