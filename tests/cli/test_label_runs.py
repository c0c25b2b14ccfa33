"""Runs on labels other than part-of-speech tags, and on balanced train words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from user import QUICK, Command, Place, output_folders

SAME = "both tags have the same key neurons"


@pytest.fixture
def with_features(place: Place, tmp_path: Path) -> Path:
    """The treebank with the feature Long: whether the form has four letters or more."""
    rows = []
    for line in place.treebank.read_text("utf-8").split("\n"):
        columns = line.split("\t")
        if len(columns) == 10:
            columns[5] = f"Long={'Yes' if len(columns[1]) > 3 else 'No'}"
        rows.append("\t".join(columns))
    path = tmp_path / "features.conllu"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def sets_of(folder: Path) -> dict[str, set[tuple[int, int]]]:
    tags = json.loads((folder / "key_neurons.json").read_text("utf-8"))["tags"]
    return {tag: {(n["layer"], n["neuron"]) for n in own} for tag, own in tags.items()}


@pytest.mark.parametrize(("sign", "same"), [("both", True), ("positive", False)])
def test_two_labels_share_their_neurons_and_it_is_said(
    call: Command, place: Place, with_features: Path, tmp_path: Path, sign: str, same: bool
) -> None:
    overrides = [f"dataset.file={with_features}", "dataset.tag_column=feats.Long", f"sign={sign}"]
    ended = call(*place.small, *QUICK, *overrides)
    assert (ended.status, ended.err) == (0, "")
    sets = sets_of(output_folders(tmp_path)[0])
    assert set(sets) == {"Yes", "No"}
    assert (sets["Yes"] == sets["No"]) is same
    assert (SAME in ended.out) is same


def test_a_run_on_balanced_words_counts_them(call: Command, place: Place, tmp_path: Path) -> None:
    ended = call(*place.small, *QUICK, "dataset.balance=20", "dataset.min_words_per_tag=20")
    assert (ended.status, ended.err) == (0, "")
    metrics = json.loads((output_folders(tmp_path)[0] / "metrics.json").read_text("utf-8"))
    assert metrics["data/train_words"] == 20 * metrics["data/tags"]
