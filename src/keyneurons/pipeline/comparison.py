"""Several selection methods on the same activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyneurons.analysis.agreement import Agreement, agreement
from keyneurons.data.digests import treebank_digest
from keyneurons.data.word_features import sentence_of_rows
from keyneurons.pipeline.activations import Activations, StoredActivations
from keyneurons.pipeline.experiment import Experiment, read_dataset
from keyneurons.pipeline.key_neurons import key_neurons_by, naming_tags
from keyneurons.records import Labels, NeuronSets, Scores, Treebank
from keyneurons.selection.driver import moment_scores
from keyneurons.selection.moments import MomentScorer


@dataclass(frozen=True)
class Comparison:
    """The key neurons of every tag by every method, and how far the methods agree."""

    experiments: Mapping[str, Experiment]
    treebank: Treebank
    treebank_digest: str
    labels: Labels
    sets: Mapping[str, NeuronSets]
    agreement: Agreement


def compare_methods(experiments: Mapping[str, Experiment]) -> Comparison:
    """Score the same activations by several methods and compare what they find.

    Args:
        experiments: by name of the method; alike in all but the selection.

    Returns:
        Key neurons and agreement.

    Raises:
        ValueError: the data or the activations do not allow it, or there are fewer than two methods.
    """
    treebank, labels, activations = read_dataset(next(iter(experiments.values())))
    sentences = sentence_of_rows(treebank.splits["train"], labels.splits["train"].rows)
    with naming_tags(labels.names):
        scores = scores_of_all(experiments, activations, labels)
    sets = {
        name: key_neurons_by(scores[name], experiment.selection, activations, labels, sentences)
        for name, experiment in experiments.items()
    }
    found = agreement({name: (scores[name], sets[name]) for name in experiments}, labels.names)
    return Comparison(experiments, treebank, treebank_digest(treebank), labels, sets, found)


def scores_of_all(experiments: Mapping[str, Experiment], activations: Activations, labels: Labels) -> dict[str, Scores]:
    """The scores by every method; those by moments share one read of stored activations."""
    scores, shared = {}, {}
    for name, experiment in experiments.items():
        selection = experiment.selection
        if isinstance(selection.scorer, MomentScorer) and isinstance(activations, StoredActivations):
            shared[name] = selection.scorer
        else:
            scores[name] = activations.scores(selection.scorer, labels, selection.rule.scope, selection.memory_bytes)
    if shared and isinstance(activations, StoredActivations):
        selection = next(iter(experiments.values())).selection
        driver = activations.driver(labels, selection.rule.scope, selection.memory_bytes)
        moments = driver.moments(labels.splits["train"].tags[None], {scorer.view for scorer in shared.values()})
        for name, scorer in shared.items():
            scores[name] = moment_scores(scorer, moments[scorer.view][0], driver.site, tuple(driver.arrays))
    return scores
