"""How often the verdict says yes on data without grammar, and on planted neurons.

Run with ``python benchmarks/null_verdict.py [DATA_SETS] [PROCESSES] [FIRST_SEED] [LABELS]``, where
``LABELS`` is a comma-separated list of kinds of labels, by default all. The activations are those
of the default model on part of the starter treebank (feed-forward neurons of layer 8). Every data
set has other labels:

- ``words``: a random tag per word;
- ``types``: a random tag per word type, which a model can decode since it knows its words;
- ``like_length``: the tags of another sentence of like length, aligned;
- ``rotated``: the tags of the whole text, moved on by a random number of words;
- ``sentence_effects``: normal neurons and tags that both depend on the sentence, independently;
- ``planted``: a random tag per word, and three neurons per tag that are higher on it.

The selection, the probes, the controls and the verdict are those of a run, with fewer words and
neurons per tag. The table has the share of data sets with each answer.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from common import publish
from numpy import ndarray

from keyneurons.analysis.resampling import permuted_tags
from keyneurons.build.experiment import build_experiment
from keyneurons.config.compose import checked_with_choices
from keyneurons.data.word_features import sentence_of_rows
from keyneurons.metrics import BEYOND_FORM, GRAMMAR, SPECIAL
from keyneurons.pipeline.activations import StoredActivations, read_activations
from keyneurons.pipeline.controls.control import Case
from keyneurons.pipeline.controls.reselected_task import control_labels
from keyneurons.pipeline.dataset import load_text
from keyneurons.pipeline.experiment import Experiment
from keyneurons.pipeline.key_neurons import Reselection, find_key_neurons
from keyneurons.pipeline.probing import probe_key_neurons
from keyneurons.pipeline.scored_words import activated_words
from keyneurons.pipeline.verdict import judge
from keyneurons.records import SPLITS, Labels, Split, Treebank

OVERRIDES = (
    "dataset.max_sentences={train: 250, dev: 100, test: 150}",
    "top_k=5",
    "control=[random,top_variance,word_form,word_type,majority,reselected_task]",
    "per_tag.random_sets=1",
)
PLANTED, STRENGTH = 3, 1.0  # neurons per tag, and standard deviations between the tag and the rest
COLUMNS = ("labels", "data sets", "special", "special (2)", "beyond form", "grammar", "p of special <= .05")


@dataclass(frozen=True)
class Material:
    """The text, its activations and the settings of the runs."""

    experiment: Experiment
    treebank: Treebank
    labels: Labels
    activations: StoredActivations

    def sentences(self, split: Split) -> ndarray:
        return sentence_of_rows(self.treebank.splits[split], self.labels.splits[split].rows)


def prepare() -> Material:
    """Read the text and its activations."""
    config, choices = checked_with_choices(OVERRIDES, None)
    experiment = build_experiment(config, choices["selection"])
    text = load_text(experiment.dataset, experiment.read)
    activations = read_activations(experiment.read, text.treebank, store=True).stored()
    return Material(experiment, text.treebank, text.labels, activations)


Data = tuple[Labels, StoredActivations]


def relabelled(material: Material, tags_of: Callable[[Split], ndarray]) -> Labels:
    """The words with other tags."""
    labels = material.labels
    return replace(labels, splits={split: replace(labels.splits[split], tags=tags_of(split)) for split in SPLITS})


def permuted(material: Material, unit: str, rng: np.random.Generator) -> Data:
    labels = relabelled(
        material, lambda split: permuted_tags(material.labels.splits[split].tags, material.sentences(split), unit, rng)
    )
    return labels, material.activations


def per_type(material: Material, rng: np.random.Generator) -> Data:
    return control_labels(material.labels, int(rng.integers(2**31))), material.activations


def rotated(material: Material, rng: np.random.Generator) -> Data:
    def tags_of(split: Split) -> ndarray:
        tags = material.labels.splits[split].tags
        return np.roll(tags, int(rng.integers(100, len(tags) - 100)))

    return relabelled(material, tags_of), material.activations


def sentence_effects(material: Material, rng: np.random.Generator) -> Data:
    """Neurons with an intraclass correlation of .3; tags drawn from frequencies by sentence."""
    names, share = material.labels.names, material.labels.counts("train") / material.labels.counts("train").sum()
    tags: dict[Split, ndarray] = {}
    arrays: dict[Split, dict[int, ndarray]] = {}
    [layer] = material.activations.arrays["train"]
    for split in SPLITS:
        sentence = material.sentences(split)
        own = rng.dirichlet(share * 4 + 1e-3, size=sentence.max() + 1)
        tags[split] = (
            (own[sentence].cumsum(axis=1) < rng.random((len(sentence), 1))).sum(axis=1).clip(0, len(names) - 1)
        )
        array = material.activations.arrays[split][layer]
        values = rng.normal(size=array.shape, scale=0.7**0.5)
        rows = material.labels.splits[split].rows
        values[rows] += rng.normal(size=(sentence.max() + 1, array.shape[1]), scale=0.3**0.5)[sentence]
        arrays[split] = {layer: values.astype(np.float16)}
    return relabelled(material, tags.__getitem__), StoredActivations(arrays, material.activations.site)


def planted(material: Material, rng: np.random.Generator) -> Data:
    """Random tags per word; ``PLANTED`` of the neurons per tag carry it."""
    labels, _ = permuted(material, "words", rng)
    [layer] = material.activations.arrays["train"]
    width = material.activations.arrays["train"][layer].shape[1]
    chosen = rng.choice(width, (len(labels.names), PLANTED), replace=False)
    spread = material.activations.arrays["train"][layer].astype(np.float32).std(axis=0)
    arrays: dict[Split, dict[int, ndarray]] = {}
    for split in SPLITS:
        values = np.array(material.activations.arrays[split][layer], dtype=np.float32)
        words = labels.splits[split]
        for tag, neurons in enumerate(chosen):
            values[np.ix_(words.rows[words.tags == tag], neurons)] += 2 * STRENGTH * spread[neurons]
        arrays[split] = {layer: values.astype(np.float16)}
    return labels, StoredActivations(arrays, material.activations.site)


NULLS: dict[str, Callable[[Material, np.random.Generator], Data]] = {
    "words": lambda material, rng: permuted(material, "words", rng),
    "types": per_type,
    "like_length": lambda material, rng: permuted(material, "like_length", rng),
    "rotated": rotated,
    "sentence_effects": sentence_effects,
    "planted": planted,
}
FEWER = {"planted": 4}  # data sets to show power are a quarter of the others


def answer(material: Material, name: str, seed: int) -> tuple[int, int, int, float]:
    """The answers of one data set, and the p-value of the comparison with random sets."""
    run = material.experiment
    labels, activations = NULLS[name](material, np.random.default_rng([seed, list(NULLS).index(name)]))
    words = activated_words(activations, labels, material.treebank)
    key = find_key_neurons(run.selection, words)
    reselect = Reselection(run.selection, words, activations)
    case = Case(labels, activations, key.sets, material.sentences("test"), seed, reselect)
    evidence = probe_key_neurons(run.probing, case)
    verdict = judge(evidence)
    assert verdict is not None
    levels = {each.metric: each.level for each in verdict.answers}
    return levels[SPECIAL], levels[BEYOND_FORM], levels[GRAMMAR], evidence.differences["random"].p_value


MATERIAL: list[Material] = []  # of the worker processes, which are forked


def work(job: tuple[str, int]) -> tuple[str, tuple[int, int, int, float]]:
    torch.set_num_threads(1)
    return job[0], answer(MATERIAL[0], *job)


def shares(answers: Mapping[str, Sequence[tuple[int, int, int, float]]]) -> list[list[object]]:
    """One row per kind of labels: the share of data sets with each answer."""
    rows: list[list[object]] = []
    for name, said in answers.items():
        special, form, grammar, p_values = (np.array(each) for each in zip(*said, strict=True))
        yes = (special >= 1, special == 2, form == 1, grammar == 1, p_values <= 0.05)
        rows.append([name, len(said), *(f"{share.mean():.3f}" for share in yes)])
    return rows


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    processes = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    first = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    material = prepare()
    MATERIAL.append(material)
    names = sys.argv[4].split(",") if len(sys.argv) > 4 else list(NULLS)
    jobs = [(name, first + i) for i in range(n) for name in names if i < n // FEWER.get(name, 1)]
    answers: dict[str, list[tuple[int, int, int, float]]] = {name: [] for name in names}
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for done, (name, said) in enumerate(pool.imap_unordered(work, jobs), 1):
            answers[name].append(said)
            if done % 200 == 0:
                print(f"{done} of {len(jobs)}", *(f"{row}" for row in shares(answers)), sep="\n", flush=True)
    rows = shares(answers)
    counts = Counter(material.labels.splits["train"].tags.tolist())
    notes = (
        f"Share of data sets with each answer. {sum(counts.values())} train and "
        f"{len(material.labels.splits['test'].tags)} test words (starter), {len(counts)} tags, mlp layer 8, "
        f"5 neurons per tag by correlation, 99 random sets. Planted: {PLANTED} neurons per tag, "
        f"{2 * STRENGTH:g} standard deviations higher on it."
    )
    publish("null_verdict", "Verdicts on labels without grammar", COLUMNS, rows, repeats=n, notes=notes)


if __name__ == "__main__":
    main()
