"""Agreement of several selection methods on the same activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from keyneurons.analysis.agreement import Agreement, agreement
from keyneurons.pipeline.dataset import LabelledText, load_text
from keyneurons.pipeline.experiment import Experiment
from keyneurons.pipeline.given_sets import GivenSets
from keyneurons.pipeline.key_neurons import Selection, key_neurons_by, naming_tags
from keyneurons.pipeline.scored_words import ScoredWords
from keyneurons.records import NeuronSets, Scores
from keyneurons.selection.moments import Moments
from keyneurons.selection.views import View


@dataclass(frozen=True)
class MethodAgreement:
    """The key neurons of every tag by every method, and the agreement of the methods."""

    experiments: Mapping[str, Experiment]
    text: LabelledText
    sets: Mapping[str, NeuronSets]
    agreement: Agreement


def compare_methods(experiments: Mapping[str, Experiment]) -> MethodAgreement:
    """Score the same activations by several methods and compare the key neurons.

    Args:
        experiments: Experiments by name of the method, equal except for the selection.

    Returns:
        Key neurons and agreement.

    Raises:
        ValueError: The data or the activations are unsuitable, there are fewer than two methods, or
            one of them does not score neurons.
    """
    selections = {name: _selection(name, each) for name, each in experiments.items()}
    first = next(iter(experiments.values()))
    text = load_text(first.dataset, first.read)
    first = first.on(text)
    experiments = {
        name: replace(each, read=replace(each.read, basis=first.read.basis)) for name, each in experiments.items()
    }
    activations = first.activations(text)
    words = {name: each.scored_words(text, text.labels, activations) for name, each in experiments.items()}
    by_activations = [name for name, each in experiments.items() if each.attribute is None]
    with naming_tags(text.labels.names):
        scores = scores_of_all(selections, by_activations, words)
    basis = first.read.basis.name
    sets = {
        name: replace(key_neurons_by(scores[name], each, words[name]), basis=basis) for name, each in selections.items()
    }
    measured = agreement({name: (scores[name], sets[name]) for name in experiments}, text.labels.names)
    return MethodAgreement(experiments, text, sets, measured)


def _selection(name: str, experiment: Experiment) -> Selection:
    if isinstance(experiment.selection, GivenSets):
        raise ValueError(
            f"agreement compares methods that score neurons, got {name}; compare given sets with: "
            "keyneurons compare RUN RUN"
        )
    return experiment.selection


def scores_of_all(
    selections: Mapping[str, Selection], by_activations: Sequence[str], words: Mapping[str, ScoredWords]
) -> dict[str, Scores]:
    """The scores by every method.

    Methods that score activations and work from moments share one pass.
    """
    views = {view for name in by_activations for view in selections[name].scoring.traits.views}
    shared: dict[View, Moments] = {}
    if views:
        selection, any_words = selections[by_activations[0]], words[by_activations[0]]
        by_view = selection.source(any_words).moments(any_words.tags[None], views)
        shared = {view: moments for view, [moments] in by_view.items()}
    return {
        name: each.scoring.scores(
            each.source(words[name]), words[name].tags, shared if name in by_activations else None
        )
        for name, each in selections.items()
    }
