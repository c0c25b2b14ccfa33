"""The summary of a run: both verdicts, the table of tags, the facts."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from rich.console import Console

from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.analysis.confounds import Confounded
from keyneurons.analysis.overlap import overlap
from keyneurons.analysis.redundancy import Redundancy
from keyneurons.analysis.sentence_bootstrap import Difference, Estimate, SentenceBootstrap
from keyneurons.analysis.stability import Stability
from keyneurons.artifacts.run_files import sets_digest, write_run_files
from keyneurons.artifacts.tables import write_matrix
from keyneurons.choices import ControlRole
from keyneurons.data.digests import TreebankDigests
from keyneurons.data.sources import Starter
from keyneurons.data.word_features import CONFOUNDS
from keyneurons.models.folders import ModelFolder
from keyneurons.models.language_model import LanguageModel
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.controls.random_sets import RandomSets
from keyneurons.pipeline.dataset import Dataset, LabelledText
from keyneurons.pipeline.evidence import ControlResult, Evidence, KeyNeuronsProbe
from keyneurons.pipeline.experiment import Experiment, Result
from keyneurons.pipeline.key_neurons import KeyNeurons, Selection
from keyneurons.pipeline.layers import LayerChecks, Layers
from keyneurons.pipeline.per_tag import TagProbe
from keyneurons.pipeline.probes import TrainedProbe, Training
from keyneurons.pipeline.probing import Probing
from keyneurons.pipeline.reliability import Checks, Reliability
from keyneurons.pipeline.scored_words import ScoredWords
from keyneurons.pipeline.trial_results import ResultStore
from keyneurons.pipeline.unseen_words import OnUnseenWords
from keyneurons.pipeline.verdict import judge
from keyneurons.pipeline.worth import SizeCurves, Worth
from keyneurons.probe.fit import ProbeSettings
from keyneurons.probe.metrics import ClassificationMetrics
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
from keyneurons.report.figure_style import FigureOptions
from keyneurons.report.run.console import show
from keyneurons.report.run.figures import draw_figures
from keyneurons.report.run.summary import markdown, summarise, verdict
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.rules import Rule

NAMES = ("NOUN", "VERB")
CAPS: Mapping[Any, None] = dict.fromkeys(SPLITS)
LATER = (np.arange(7), np.array([0, 1, 0, 1, 0, 1, 0]), tuple("abcdefg"))
UNCHECKED = Reliability({}, None, None)


def experiment(folder: Path) -> Experiment:
    (folder / "config.json").write_text('{"model_type": "llama", "intermediate_size": 8}', "utf-8")
    model = LanguageModel(ModelFolder(folder, "toy", "r1"), device="cpu")
    settings = ProbeSettings(partial(torch.optim.Adam, lr=0.1), 8, 3, 1.0)
    training = Training(settings, partial(lightning.Trainer, accelerator="cpu"), 0)
    return Experiment(
        dataset=Dataset(Starter(), "upos", None, 1, CAPS, CAPS, True),
        read=ActivationReader(model, "mlp", (3,), store=ActivationStore(folder)),
        store=True,
        sample_words=None,
        attribute=None,
        selection=Selection(Correlation(), Rule(2, "layer"), 1000, "like_length", 2**20, 0),
        method="correlation",
        probing=Probing(training, {"random": RandomSets(20)}, 5, 500, ResultStore()),
        curves=SizeCurves(0, 5),
        checks=Checks(3, 5, confounds=True, redundancy=True),
        unseen=None,
        layers=LayerChecks(),
        lesions=None,
        seed=0,
    )


def drawn(mean: float, std: float, n: int = 20) -> np.ndarray:
    """Accuracies with a given mean and standard deviation."""
    spread = np.linspace(-1.0, 1.0, n)
    return mean + std * spread / spread.std(ddof=1)


def words_right(accuracies: np.ndarray) -> np.ndarray:
    """The first words of a thousand, as many as the accuracy says."""
    return np.arange(1000) < np.round(1000 * accuracies)[:, None]


def evidence_of(accuracy: float, random: np.ndarray, **others: float) -> Evidence:
    """A probe with an accuracy, random sets with accuracies, and controls by their labels."""
    probe = TrainedProbe(np.array([1, 2, 5]), torch.zeros(3), torch.ones(3), torch.ones(3, 2), torch.ones(2))
    scores = ClassificationMetrics(accuracy, 0.5, np.array([0.5, 0.5]), np.array([[2, 0], [0, 1]]))
    controls = {"random": ControlResult("matched random sets", "probe/advantage", "random", words_right(random))}
    controls |= {
        name: ControlResult(name.replace("_", " "), None, ROLES.get(name), words_right(np.array([value])))
        for name, value in others.items()
    }
    per_tag = {tag: TagProbe(0.8, np.full(5, 0.2), Difference(0.6, 0.5, 0.7, 0.17)) for tag in NAMES}
    right = words_right(np.array([accuracy]))[0]
    key = KeyNeuronsProbe(scores, right.astype(np.int64), right, 0.9, 3.0, probe)
    boot = SentenceBootstrap.of(np.arange(1000) % 50, 500, 0)
    return Evidence(NAMES, key, controls, per_tag, np.ones((3, 3)), boot, np.arange(1000) % 9 == 0)


ROLES: Mapping[str, ControlRole] = {"top_variance": "label_free", "majority_tag": "form"}


TOY = {
    "NOUN": (KeyNeuron(3, 5, -0.75, 0.001, 0.004), KeyNeuron(3, 1, 0.5, 0.01, 0.04)),
    "VERB": (KeyNeuron(3, 1, 0.6, 0.002, 0.008), KeyNeuron(3, 2, 0.4, 0.02, 0.08)),
}


def result(
    folder: Path,
    *,
    random: np.ndarray | None = None,
    tags: Mapping[str, tuple[KeyNeuron, ...]] = TOY,
    dropped: int = 0,
    shared: int = 0,
    reliability: Reliability = UNCHECKED,
    unseen: bool = False,
) -> Result:
    """A synthetic result without model or probe: 8 neurons, two tags, given numbers."""
    word = Word("dog", 0, 3, "NOUN", None)
    sentences = (Sentence("s1", "dog dog dog", (word, word, word)),)
    treebank = Treebank("toy", dict.fromkeys(SPLITS, sentences), shared, {"dev": dropped})
    labelled = LabelledWords(np.arange(3), np.array([0, 1, 0]), ("dog", "runs", "dog"))
    labels = Labels("upos", NAMES, dict.fromkeys(SPLITS, labelled), {"SYM": 2})
    sets = NeuronSets("mlp", (3,), 8, tags)
    scores = Scores("mlp", (3,), 8, torch.zeros(2, 8))
    words = ScoredWords(StoredActivations({}, "mlp"), labels, np.zeros(3, dtype=np.int64))
    random = drawn(0.7, 0.02) if random is None else random
    boot = SentenceBootstrap.of(np.arange(3), 10, 0)
    none = Evidence(NAMES, None, {}, {}, np.empty((3, 0)), boot, np.zeros(3, dtype=bool))
    apart = replace(labels, splits={**labels.splits, "test": LabelledWords(*LATER)})
    evidence = evidence_of(0.9, random, all_neurons=0.95, majority_tag=0.3) if sets.union() else none
    return Result(
        experiment=experiment(folder),
        text=LabelledText(treebank, TreebankDigests("digest", {}), labels),
        key_neurons=KeyNeurons(words, scores, sets),
        overlap=overlap(sets),
        evidence=evidence,
        worth=None,
        verdict=judge(evidence),
        reliability=reliability,
        unseen=OnUnseenWords(apart, evidence_of(0.6, drawn(0.5, 0.04), majority_tag=0.1)) if unseen else None,
        layers=Layers({}),
        lesions=None,
    )


def test_the_verdict_when_key_neurons_win(tmp_path: Path) -> None:
    won = result(tmp_path, random=drawn(0.7, 0.02, 99))
    m = won.metrics
    interval = f"{m['probe/advantage_low']:.3f} to {m['probe/advantage_high']:.3f}"
    assert verdict(won).startswith(f"3 key neurons: better than random neurons (+0.200, {interval}); beyond the word")
    assert (m["verdict/special"], m["verdict/beyond_form"]) == (1, 1)
    assert "verdict/grammar" not in m
    rows = {question: (answer, reasons) for question, answer, _, reasons in summarise(won).answers}
    special, form, grammar = rows.values()
    assert special == ("1 of 2", f"better than random neurons (+0.200, {interval}); needs control.top_variance")
    assert form[0] == "yes"
    assert grammar == ("not tested", "needs control.reselected_task")


def test_the_verdict_when_they_do_not(tmp_path: Path) -> None:
    lost = result(tmp_path, random=drawn(0.89, 0.02, 99))
    assert verdict(lost).startswith("3 key neurons: not better than random neurons (+0.010, -")
    assert lost.metrics["verdict/special"] == 0


def test_better_than_random_neurons_but_not_than_those_of_highest_variance(tmp_path: Path) -> None:
    evidence = evidence_of(0.9, drawn(0.7, 0.02, 99), top_variance=0.9)
    own = replace(result(tmp_path), evidence=evidence, verdict=judge(evidence))
    assert verdict(own).endswith(", not than top variance (+0.000, 0.000 to 0.000).")


def test_the_verdict_names_the_way_out_when_so_few_sets_cannot_tell(tmp_path: Path) -> None:
    few = result(tmp_path, random=drawn(0.7, 0.02, 5))
    special = summarise(few).answers[0]
    assert special[1] == "no"
    assert "with 5 sets p cannot be below 0.167 after correction: draw more random sets" in special[3]


def test_the_summary_has_every_tag_and_every_control(tmp_path: Path) -> None:
    summary = summarise(result(tmp_path, dropped=3, shared=4))
    assert summary.title == "toy, mlp, layer 3: 2 key neurons per tag by correlation"
    assert summary.columns == ("tag", "train words", "best neuron", "score", "F1", "random F1", "p")
    assert summary.tags == (
        ("NOUN", "2", "mlp.3.5", "-0.750", "0.800", "0.200", "0.170"),
        ("VERB", "1", "mlp.3.1", "0.600", "0.800", "0.200", "0.170"),
    )
    assert [row[:2] for row in summary.accuracies] == [
        ("key neurons (3, 38% of the neurons read)", "0.900"),
        ("matched random sets (mean of 20)", "0.700 ± 0.020"),
        ("all neurons", "0.950"),
        ("majority tag", "0.300"),
    ]
    assert [row[2].split()[0] for row in summary.accuracies[1:]] == ["+0.200", "-0.050", "+0.600"]
    assert [row[3] != "" for row in summary.accuracies] == [False, True, False, False]
    facts = "\n".join(summary.facts)
    assert "toy: 3 / 3 / 3 words in train / dev / test, tags from upos" in facts
    assert "excluded tags (too few training words): SYM (2)" in facts
    assert "3 duplicate sentences dropped from dev and test" in facts
    assert "4 words read at the shared span" in facts
    assert "share 1.00 neurons on average, 0.50 expected by chance" in facts


def test_the_summary_tells_what_the_checks_found(tmp_path: Path) -> None:
    stable = Stability({"NOUN": 0.5, "VERB": 0.25}, {"NOUN": 0.1, "VERB": 0.1})
    correlations = (0.1, 0.2, 0.0, 0.0, 0.3, 0.0, 0.1, 0.0, 0.0, 0.2)
    marked = Confounded(correlations, 0.5, 0.4, 0.001, vanishes=False)
    gone = Confounded(correlations, 0.5, 0.01, 0.6, vanishes=True)
    redundant = Redundancy(((1, 2), (5,)), 1.8, {"NOUN": 1.9, "VERB": 1.2}, {("NOUN", "VERB"): (0.0, 40.0)})
    confounds = {"NOUN": (marked, gone), "VERB": (marked, marked)}
    found = result(tmp_path, reliability=Reliability({"halves": stable}, confounds, redundant))
    assert found.metrics["stability/halves/jaccard"] == pytest.approx(0.375)
    assert found.metrics["stability/halves/expected_jaccard/VERB"] == 0.1
    assert found.metrics["confounds/vanishing"] == 1
    assert found.metrics["redundancy/clusters"] == 2
    summary = summarise(found)
    assert summary.columns[-1] == "stability"
    assert [row[-1] for row in summary.tags] == ["0.500", "0.250"]
    facts = "\n".join(summary.facts)
    assert "halves of the train sentences have a mean Jaccard index of 0.375, 0.100 expected by chance" in facts
    lost = "1 key neuron loses more than 50% of its correlation with the tag, or its significance, when word length"
    assert lost in facts
    assert "NOUN mlp.3.1 (r 0.50, then 0.01)" in facts
    assert "3 key neurons in 2 clusters of correlated neurons; their effective dimension is 1.8" in facts
    # the made-up evidence has more words than the labels
    object.__setattr__(found.evidence.key_neurons, "predicted", np.zeros(3, dtype=np.int64))
    write_run_files(found, tmp_path)
    neurons = json.loads((tmp_path / "key_neurons.json").read_text("utf-8"))["tags"]["NOUN"]
    assert [n["vanishes"] for n in neurons] == [False, True]
    assert [(n["correlation"], n["partial"]) for n in neurons] == [(0.5, 0.4), (0.5, 0.01)]
    assert neurons[1]["confounds"] == dict(zip(CONFOUNDS, gone.correlations, strict=True))
    told = json.loads((tmp_path / "redundancy.json").read_text("utf-8"))
    assert told["clusters"] == [[{"layer": 3, "neuron": 1}, {"layer": 3, "neuron": 2}], [{"layer": 3, "neuron": 5}]]
    assert told["angles"] == [{"tags": ["NOUN", "VERB"], "degrees": [0.0, 40.0]}]


def test_fewer_neurons_than_asked_for_are_told_by_tag(tmp_path: Path) -> None:
    summary = summarise(result(tmp_path, tags={**TOY, "VERB": ()}))
    assert [row[2] for row in summary.tags] == ["2 of 2", "0 of 2"]
    assert summary.tags[1][3:5] == ("-", "-")


def test_no_key_neurons_at_all_is_a_result(tmp_path: Path) -> None:
    found = result(tmp_path, tags=dict.fromkeys(NAMES, ()))
    rule = Rule(2, "layer", threshold="fdr", alpha=0.01)
    object.__setattr__(found.experiment.selection, "rule", rule)
    rule_told = "threshold.kind=fdr, threshold.alpha=0.01, sign=both"
    assert verdict(found) == f"No key neurons: no neuron passes {rule_told}."
    draw_figures(found, tmp_path, FigureOptions())
    assert not list(tmp_path.rglob("*.png"))
    write_run_files(found, tmp_path)
    assert not (tmp_path / "probe.safetensors").exists()
    assert not (tmp_path / "confusion.csv").exists()


def test_unseen_words_stand_beside_the_normal_split(tmp_path: Path) -> None:
    rows = summarise(result(tmp_path, unseen=True)).accuracies
    place = rows.index(("on 7 test words of unseen types (2 tags)", "", "", "", ""))
    assert rows[0][1] == "0.900"
    assert [row[:2] for row in rows[place + 1 :]] == [
        ("  key neurons", "0.600"),
        ("  matched random sets (mean of 20)", "0.500 ± 0.040"),
        ("  majority tag", "0.100"),
    ]


def test_the_description_is_a_table_in_markdown(tmp_path: Path) -> None:
    found = result(tmp_path)
    text = markdown(summarise(found))
    assert f"**{verdict(found)}**" in text
    assert "| NOUN | 2 | mlp.3.5 | -0.750 | 0.800 | 0.200 | 0.170 |" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {5, 6, 8}


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_console_shows_the_verdict_whole_whatever_its_width(tmp_path: Path, width: int) -> None:
    found, out = result(tmp_path), io.StringIO()
    show(summarise(found), Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    for question, answer, p_value, reasons in summarise(found).answers:
        tested = "" if answer == "not tested" else f" (p = {p_value})"
        assert f"{question} {answer}{tested}: {reasons}" in lines
    assert any(line.startswith("NOUN") for line in lines)


def test_figures_are_drawn_and_layers_only_where_there_are_several(tmp_path: Path) -> None:
    draw_figures(result(tmp_path), tmp_path, FigureOptions())
    drawn = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")}
    assert drawn == {"overlap.png", "accuracy.png", "per_tag_f1.png", "figures/confusion.png"}


def test_the_worth_is_a_fact_and_a_figure(tmp_path: Path) -> None:
    accuracy = np.array([0.5, 0.95])
    sizes, random = np.array([2, 8]), (accuracy[:1], accuracy[1:])
    worth = Worth(sizes, random, accuracy, {2: 0.6, 3: 0.9}, Estimate(7.0, 5.0, 8.0), True)
    own = replace(result(tmp_path), worth=worth)
    assert "3 key neurons are worth 7 random ones (95 % interval 5 to 8 (all) or more)" in summarise(own).facts
    draw_figures(own, tmp_path, FigureOptions())
    assert (tmp_path / "figures" / "accuracy_by_size.png").is_file()
    assert own.metrics["worth/neurons_low"] == 5.0


def test_the_digest_of_the_sets_sees_neurons_only(tmp_path: Path) -> None:
    found = result(tmp_path)
    assert sets_digest(found.key_neurons.sets) == sets_digest(
        result(tmp_path, random=drawn(0.9, 0.02)).key_neurons.sets
    )
    assert sets_digest(found.key_neurons.sets) != sets_digest(
        result(tmp_path, tags={**TOY, "VERB": TOY["NOUN"]}).key_neurons.sets
    )


def test_a_matrix_file_has_names_on_both_sides(tmp_path: Path) -> None:
    write_matrix(tmp_path / "m.csv", ["A", "B,C"], np.array([[1, 2], [3, 4]]))
    assert (tmp_path / "m.csv").read_text() == 'tag,A,"B,C"\nA,1,2\n"B,C",3,4\n'
