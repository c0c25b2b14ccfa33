"""What a run says in words: the verdict for both outcomes, the table, the facts."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from rich.console import Console

from keyneurons.activations.models import LanguageModel, ModelFolder
from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.analysis.overlap import overlap
from keyneurons.data.sources import Starter
from keyneurons.pipeline.evidence import Evidence, KeyProbe
from keyneurons.pipeline.experiment import Dataset, Experiment, Result, data_metrics, set_metrics
from keyneurons.probe.fit import ProbeSettings
from keyneurons.records import (
    SPLITS,
    KeyNeuron,
    LabelledWords,
    Labels,
    NeuronSets,
    Scores,
    Sentence,
    Treebank,
    Word,
)
from keyneurons.report.console import show
from keyneurons.report.figures import draw_figures
from keyneurons.report.files import sets_digest, write_matrix
from keyneurons.report.summary import markdown, summarise, verdict
from keyneurons.selection.correlation import Correlation

NAMES = ("NOUN", "VERB")
CAPS: Mapping[Any, None] = dict.fromkeys(SPLITS)


def experiment(folder: Path) -> Experiment:
    model = LanguageModel(ModelFolder(folder, "toy", "r1"), device="cpu")
    return Experiment(
        dataset=Dataset(Starter(), "upos", None, 1, CAPS, CAPS, True),
        read=ActivationReader(model, ActivationStore(folder), "mlp", (3,)),
        scorer=Correlation(),
        method="correlation",
        top_k=2,
        scope="layer",
        probe=ProbeSettings(partial(torch.optim.Adam, lr=0.1), 8, 3, 1.0),
        trainer=partial(lightning.Trainer, accelerator="cpu"),
        random_sets=20,
        own_random_sets=5,
        all_neurons=True,
        memory_bytes=2**20,
        seed=0,
    )


def result(folder: Path, *, p_value: float = 1 / 21, sets: int = 20, dropped: int = 0, shared: int = 0) -> Result:
    """A result that no model and no probe was needed for: 8 neurons, two tags, every number given."""
    word = Word("dog", 0, 3, "NOUN", None)
    sentences = (Sentence("s1", "dog dog dog", (word, word, word)),)
    treebank = Treebank("toy", dict.fromkeys(SPLITS, sentences), shared, {"dev": dropped})
    labelled = LabelledWords(np.arange(3), np.array([0, 1, 0]), ("dog", "runs", "dog"))
    labels = Labels("upos", NAMES, dict.fromkeys(SPLITS, labelled), {"SYM": 2})
    tags = {
        "NOUN": (KeyNeuron(3, 5, -0.75, 0.001, 0.004), KeyNeuron(3, 1, 0.5, 0.01, 0.04)),
        "VERB": (KeyNeuron(3, 1, 0.6, 0.002, 0.008), KeyNeuron(3, 2, 0.4, 0.02, 0.08)),
    }
    neuron_sets = NeuronSets("mlp", (3,), 8, tags)
    shared_neurons = overlap(neuron_sets)
    metrics = {
        "probe/test_accuracy": 0.9,
        "control/random/test_accuracy": 0.7,
        "control/random/test_accuracy_std": 0.02,
        "control/random/p_value": p_value,
        "control/task/test_accuracy": 0.4,
        "control/majority/test_accuracy": 0.3,
        "control/word_type/test_accuracy": 0.85,
        "control/all_neurons/test_accuracy": 0.95,
        **{f"{name}/{tag}": value for name, value in (("own/f1", 0.8), ("own/random_f1", 0.2)) for tag in NAMES},
        **set_metrics(neuron_sets, shared_neurons),
        **data_metrics(treebank, labels),
    }
    three = torch.ones(3)
    probe = KeyProbe(np.array([1, 2, 5]), three, three, torch.ones(3, 2), torch.ones(2))
    evidence = Evidence(metrics, np.array([[2, 0], [0, 1]]), np.full(sets, 0.7), probe)
    scores = Scores("mlp", (3,), 8, torch.zeros(2, 8))
    return Result(
        experiment(folder), treebank, "digest", labels, scores, neuron_sets, shared_neurons, evidence, metrics
    )


def test_the_verdict_when_key_neurons_win(tmp_path: Path) -> None:
    assert verdict(result(tmp_path)) == (
        "Key neurons beat matched random sets: accuracy 0.900 against 0.700 (std 0.020, 20 sets), p = 0.048."
    )


def test_the_verdict_when_they_do_not(tmp_path: Path) -> None:
    assert verdict(result(tmp_path, p_value=0.0501)) == (
        "Key neurons are not distinguishable from matched random sets: "
        "accuracy 0.900 against 0.700 (std 0.020, 20 sets), p = 0.050."
    )


def test_the_verdict_names_the_way_out_when_so_few_sets_cannot_tell(tmp_path: Path) -> None:
    said = verdict(result(tmp_path, p_value=1 / 6, sets=5))
    assert "not distinguishable" in said
    assert said.endswith("With 5 sets p cannot be below 0.167: raise controls.random_sets.")


def test_the_summary_has_every_tag_and_every_control(tmp_path: Path) -> None:
    summary = summarise(result(tmp_path, dropped=3, shared=4))
    assert summary.title == "toy, mlp, layer 3: 2 key neurons per tag by correlation"
    noun, verb = summary.tags
    assert (noun.tag, noun.words, noun.best, noun.score) == ("NOUN", 2, "mlp.3.5", -0.75)
    assert (verb.tag, verb.words, verb.own_f1, verb.random_f1) == ("VERB", 1, 0.8, 0.2)
    accuracies = dict(summary.accuracies)
    assert accuracies["key neurons (3, 38% of the neurons read)"] == "0.900"
    assert accuracies["random neurons (3, mean of 20 sets)"] == "0.700 +- 0.020"
    assert list(accuracies.values()) == ["0.900", "0.700 +- 0.020", "0.950", "0.400", "0.850", "0.300"]
    facts = "\n".join(summary.facts)
    assert "toy: 3 / 3 / 3 words in train / dev / test, tags from upos" in facts
    assert "left out, too few words in train: SYM (2)" in facts
    assert "3 dev and test sentences dropped" in facts
    assert "4 words share the span" in facts
    assert "share 1.00 neurons on average, 0.50 expected by chance" in facts


def test_the_description_is_a_table_in_markdown(tmp_path: Path) -> None:
    found = result(tmp_path)
    text = markdown(summarise(found))
    assert f"**{verdict(found)}**" in text
    assert "| NOUN | 2 | mlp.3.5 | -0.750 | 0.800 | 0.200 |" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {3, 7}


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_console_shows_the_verdict_whole_whatever_its_width(tmp_path: Path, width: int) -> None:
    found, out = result(tmp_path), io.StringIO()
    show(summarise(found), Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    assert verdict(found) in lines
    assert any(line.startswith("NOUN") for line in lines)


def test_figures_are_drawn_and_layers_only_where_there_are_several(tmp_path: Path) -> None:
    draw_figures(result(tmp_path), tmp_path / "figures")
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert drawn == {"overlap.png", "confusion.png", "accuracy.png", "own_f1.png"}


def test_the_digest_of_the_sets_sees_neurons_only(tmp_path: Path) -> None:
    found = result(tmp_path)
    assert sets_digest(found) == sets_digest(result(tmp_path, p_value=0.9))
    other = dict(found.sets.tags)
    other["VERB"] = other["NOUN"]
    object.__setattr__(found, "sets", NeuronSets("mlp", (3,), 8, other))
    assert sets_digest(found) != sets_digest(result(tmp_path))


def test_a_matrix_file_has_names_on_both_sides(tmp_path: Path) -> None:
    write_matrix(tmp_path / "m.csv", ["A", "B,C"], np.array([[1, 2], [3, 4]]))
    assert (tmp_path / "m.csv").read_text() == ',A,"B,C"\nA,1,2\n"B,C",3,4\n'
