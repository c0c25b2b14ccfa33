"""Several selection methods on the same activations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from keyneurons.analysis.agreement import Agreement, agreement
from keyneurons.pipeline.activations import StoredActivations, read_activations
from keyneurons.pipeline.dataset import LabelledText, load_text
from keyneurons.pipeline.experiment import Experiment
from keyneurons.pipeline.key_neurons import Selection, key_neurons_by, naming_tags
from keyneurons.pipeline.scored_words import ScoredWords
from keyneurons.records import NeuronSets, Scores
from keyneurons.selection.moments import MomentScorer
from keyneurons.selection.scoring import moment_scores


@dataclass(frozen=True)
class Comparison:
    """The key neurons of every tag by every method, and how far the methods agree."""

    experiments: Mapping[str, Experiment]
    text: LabelledText
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
    first = next(iter(experiments.values()))
    text = load_text(first.dataset, first.read)
    activations = read_activations(first.read, text.treebank, store=first.store)
    words = {name: each.scored_words(text, text.labels, activations) for name, each in experiments.items()}
    with naming_tags(text.labels.names):
        scores = scores_of_all(experiments, words)
    sets = {name: key_neurons_by(scores[name], each.selection, words[name]) for name, each in experiments.items()}
    found = agreement({name: (scores[name], sets[name]) for name in experiments}, text.labels.names)
    return Comparison(experiments, text, sets, found)


def scores_of_all(experiments: Mapping[str, Experiment], words: Mapping[str, ScoredWords]) -> dict[str, Scores]:
    """The scores by every method; those by moments of stored activations share one read of them."""
    scores: dict[str, Scores] = {}
    shared: dict[str, MomentScorer] = {}
    for name, experiment in experiments.items():
        selection, asked = experiment.selection, words[name]
        stored = isinstance(asked.values, StoredActivations) and experiment.attribute is None
        if isinstance(selection.scorer, MomentScorer) and stored:
            shared[name] = selection.scorer
        else:
            rule, memory = selection.rule, selection.memory_bytes
            scores[name] = asked.values.scores(selection.scorer, asked.labels, rule.scope, memory)
    if shared:
        first = next(iter(shared))
        scores |= dict(_sharing_a_read(shared, words[first], experiments[first].selection))
    return scores


def _sharing_a_read(
    scorers: Mapping[str, MomentScorer], words: ScoredWords, selection: Selection
) -> Iterator[tuple[str, Scores]]:
    if isinstance(words.values, StoredActivations):
        driver = words.values.driver(words.labels, selection.rule.scope, selection.memory_bytes)
        tags = words.labels.splits["train"].tags[None]
        moments = driver.moments(tags, {scorer.view for scorer in scorers.values()})
        for name, scorer in scorers.items():
            yield name, moment_scores(scorer, moments[scorer.view][0], driver.site, tuple(driver.arrays))
