"""Type I error of the thresholds on real activations with the tags of other sentences.

Run with ``python benchmarks/type_one_error.py TREEBANK_FOLDER [layer] [data sets]``. The
activations are those of the default model on the first 500 train sentences of UD English EWT
(feed-forward neurons of one layer). Each data set permutes the tag sequences of whole sentences, so
no neuron carries the tags. A threshold at alpha = .05 should select a neuron, for any tag, in at
most 5 % of the data sets. The table also shows whether a planted neuron, 2 standard deviations
higher on NOUN, is selected under the true tags, and the number of neurons selected under them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from numpy import ndarray

from keyneurons.analysis.resampling import permuted_tags
from keyneurons.build.experiment import build_experiment
from keyneurons.config.paths import conf_folder
from keyneurons.config.validation import validate
from keyneurons.data.word_features import sentence_of_rows
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.experiment import read_dataset
from keyneurons.records import Labels
from keyneurons.selection.columns import scoring_of
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.methods.mutual_information import MutualInformation
from keyneurons.selection.methods.welch_t import WelchT
from keyneurons.selection.scoring import Driver
from keyneurons.selection.significance import benjamini_hochberg, max_statistic_p_values, survivors

ALPHA = 0.05
SLOW = 20  # data sets for a method that is not moment-based
METHODS = {"correlation": Correlation(), "welch_t": WelchT(), "mutual_information": MutualInformation()}


def prepare(folder: str, layer: int) -> tuple[Driver, Labels, ndarray]:
    """The activations with one planted neuron, the labels, and the sentence of every train word."""
    caps = "dataset.max_sentences={train: 500, dev: 250, test: 250}"
    overrides = ["dataset=ud_english_ewt", f"dataset.folder={folder}", caps, f"layer={layer}"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        experiment = build_experiment(validate(compose("config", overrides)), "correlation")
    treebank, labels, activations = read_dataset(experiment)
    assert isinstance(activations, StoredActivations)
    words = labels.splits["train"]
    array = np.array(activations.arrays["train"][layer])
    noise = np.random.default_rng(0).normal(size=len(array))
    noise[words.rows[words.tags == labels.names.index("NOUN")]] += 2
    arrays = {layer: np.concatenate([array, noise[:, None].astype(array.dtype)], axis=1)}
    driver = Driver(arrays, words.rows, len(labels.names), "mlp", "layer")
    return driver, labels, sentence_of_rows(treebank.splits["train"], words.rows)


def p_values(driver: Driver, method: str, taggings: list[ndarray], textbook: bool) -> Iterator[torch.Tensor]:
    scorer = METHODS[method]
    for i in range(0, len(taggings), 20):
        some = taggings[i : i + 20]
        if views := scoring_of(scorer).traits.views:
            [view] = views
            for tags, moments in zip(some, driver.moments(np.stack(some), views)[view], strict=True):
                scores = scoring_of(scorer).scores(driver, tags, {view: moments})
                yield scores.p_values if textbook else scores.p_bounds
        else:
            yield from (driver.scores(scorer, tags).p_values for tags in some)


def main() -> None:
    folder = sys.argv[1]
    layer, n = (int(value) for value in (*sys.argv[2:], 8, 200)[:2])
    driver, labels, sentences = prepare(folder, layer)
    tags, noun = labels.splits["train"].tags, labels.names.index("NOUN")
    taggings = [permuted_tags(tags, sentences, False, np.random.default_rng([0, i])) for i in range(n)]
    print(f"EWT, {len(tags)} words, {len(labels.names)} tags, mlp layer {layer}, {driver.width} neurons, alpha {ALPHA}")
    head = f"{'data sets':>9} {'any selected':>12} {'tags selected':>13} {'planted found':>13} {'true tags':>9}"
    print(f"{'threshold':38} {head}")
    for method in METHODS:
        few = taggings if scoring_of(METHODS[method]).traits.views else taggings[:SLOW]
        for textbook in (False, True) if few is taggings else (True,):
            selected = [survivors(benjamini_hochberg(p), ALPHA) for p in p_values(driver, method, few, textbook)]
            [true] = p_values(driver, method, [tags], textbook)
            planted = bool(survivors(benjamini_hochberg(true), ALPHA)[noun, -1])
            suffix = " by textbook p-values" if textbook and few is taggings else ""
            report(f"fdr, {method}{suffix}", selected, planted, int(survivors(benjamini_hochberg(true), ALPHA).sum()))
    for method, scorer in METHODS.items():
        if scoring_of(scorer).traits.views:
            null = torch.stack(list(driver.maxima(scorer, lambda i: taggings[i], n)))
            others = [torch.cat([null[:i], null[i + 1 :]]) for i in range(n)]
            selected = [
                survivors(max_statistic_p_values(own[:, None], rest), ALPHA)
                for own, rest in zip(null, others, strict=True)
            ]
            true = max_statistic_p_values(driver.scores(scorer, tags).values, null)
            under_true = survivors(true, ALPHA)
            report(f"permutation, {method}", selected, bool(under_true[noun, -1]), int(under_true.sum()))


def report(name: str, selected: list[torch.Tensor], planted: bool, true: int) -> None:
    any_selected = sum(bool(each.any()) for each in selected) / len(selected)
    by_tag = torch.stack([each.any(dim=1) for each in selected]).double().mean()
    answer = "yes" if planted else "no"
    print(f"{name:38} {len(selected):9} {any_selected:12.3f} {by_tag:13.3f} {answer:>13} {true:9}", flush=True)


if __name__ == "__main__":
    main()
