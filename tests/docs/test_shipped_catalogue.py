"""The catalogue of this repository is complete and valid, and its cards say what was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from keyneurons.artifacts.key_neurons import read_key_neurons
from keyneurons.catalogue.pull import pull, verify
from keyneurons.data.conllu import read_conllu
from keyneurons.metrics import (
    ACCURACY,
    BEYOND_FORM,
    GRAMMAR,
    RANDOM,
    SPECIAL,
    control_accuracy,
    control_difference,
    high,
    low,
)

CATALOGUE = Path(__file__).parents[2] / "catalogue"
FOLDERS = sorted(path for path in CATALOGUE.glob("*/"))
METHODS = ("average_precision", "correlation", "l1_probe", "mean_difference", "mutual_information", "probeless")
RELEASE = Path(__file__).parents[2].parent / "shared" / "data" / "ud_english_ewt"
CARDS = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
LABELS = {
    "matched random sets": "random",
    "form of the word alone": "word_form",
    "most frequent tag of the word in train": "word_type",
    "majority tag": "majority",
    "all neurons": "all_neurons",
    "control task": "task",
}


def metrics_of(folder: Path) -> dict[str, float]:
    return json.loads((folder / "metrics.json").read_text("utf-8"))


def test_six_methods_at_three_layers_in_less_than_two_megabytes() -> None:
    assert {folder.name for folder in FOLDERS} == {f"mlp.{layer}-{m}" for layer in (8, 16, 24) for m in METHODS}
    assert sum(path.stat().st_size for path in CATALOGUE.rglob("*")) < 2_000_000


@CARDS
def test_digests_and_formats_are_valid(folder: Path, tmp_path: Path) -> None:
    verify(folder)
    copy = pull(str(folder), str(tmp_path / "mine"))
    assert read_key_neurons(copy / "key_neurons.json") == read_key_neurons(folder / "key_neurons.json")


@CARDS
def test_a_folder_is_named_after_its_sets(folder: Path) -> None:
    key = read_key_neurons(folder / "key_neurons.json")
    assert folder.name == f"{key['site']}.{key['layers'][0]}-{key['method']}"
    assert (key["model"]["id"], key["dataset"]["id"]) == ("SmolLM2-135M-Instruct", "ud_english_ewt")
    assert (key["top_k"], len(key["tags"])) == (10, 17)
    assert all(len(neurons) == 10 for neurons in key["tags"].values())


@CARDS
def test_the_claims_of_a_card_are_the_metrics(folder: Path) -> None:
    metrics = metrics_of(folder)
    _, header, body = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    assert yaml.safe_load(header)["license"] == "apache-2.0"
    [own, low_end, high_end] = re.findall(r"^\| key neurons \(.*?\| ([\d.]+) \| \(([\d.]+) to ([\d.]+)\)", body, re.M)[
        0
    ]
    for claim, name in ((own, ACCURACY), (low_end, low(ACCURACY)), (high_end, high(ACCURACY))):
        assert float(claim) == pytest.approx(metrics[name], abs=6e-4), name
    for label, control in LABELS.items():
        row = re.search(rf"^\| {label}.*?\| ([\d.]+)(?: ± [\d.]+)? \| ([+-][\d.]+) ", body, re.M)
        assert row, label
        assert float(row[1]) == pytest.approx(metrics[control_accuracy(control)], abs=6e-4), label
        if (name := control_difference(control)) in metrics:
            assert float(row[2]) == pytest.approx(metrics[name], abs=6e-4), label
    levels = [int(metrics[name]) for name in (SPECIAL, BEYOND_FORM, GRAMMAR)]
    questions = ("special", "beyond the word form", "grammar")
    answers = [re.search(rf"^\| {question}.*?\| ([^|]+?) \|", body, re.M)[1] for question in questions]
    words = {0: {"no", "0 of 2"}, 1: {"yes", "1 of 2"}, 2: {"2 of 2"}}
    assert all(answer in words[level] for answer, level in zip(answers, levels, strict=True)), (answers, levels)


def test_the_index_lists_all_sets_with_their_metrics() -> None:
    rows = re.findall(r"^\| \[(.+?)\]\((.+?)\) \| (.+) \|$", (CATALOGUE / "README.md").read_text("utf-8"), re.M)
    assert sorted(name for name, _, _ in rows) == [folder.name for folder in FOLDERS]
    for name, link, cells in rows:
        assert name == link
        metrics = metrics_of(CATALOGUE / name)
        accuracy, random, *levels = cells.split(" | ")[2:]
        assert float(accuracy) == pytest.approx(metrics[ACCURACY], abs=6e-4)
        assert float(random) == pytest.approx(metrics[RANDOM], abs=6e-4)
        assert [float(level) for level in levels] == [metrics[name] for name in (SPECIAL, BEYOND_FORM, GRAMMAR)]


@CARDS
def test_no_path_of_a_machine_is_in_the_catalogue(folder: Path) -> None:
    for path in folder.rglob("*"):
        assert not re.search(r"(?<![\w.])/(tmp|home|root|work|Users|mnt)/", path.read_text("utf-8", "replace")), path


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(not RELEASE.is_dir(), reason="the EWT release is not available")
def test_no_sentence_of_the_treebank_is_in_the_catalogue() -> None:
    """Sentences of more than 24 characters; shorter ones may be part of any prose."""
    files = sorted(RELEASE.glob("*.conllu"))
    texts = {sentence.text for path in files for sentence in read_conllu(path).sentences if len(sentence.text) > 24}
    assert len(texts) > 9000
    for path in CATALOGUE.rglob("*"):
        if path.is_file():
            content = path.read_text("utf-8", "replace")
            assert not [text for text in texts if text in content], path
