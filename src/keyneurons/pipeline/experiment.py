"""A run from start to end: its settings, its stages in order, and its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from keyneurons.activations.reader import ActivationReader
from keyneurons.analysis.overlap import Overlap, overlap
from keyneurons.attribution.ablation import AblationEffect
from keyneurons.attribution.reader import AttributionReader
from keyneurons.choices import Store
from keyneurons.data.word_features import sentence_of_rows
from keyneurons.pipeline.ablated_words import ablated_words
from keyneurons.pipeline.activations import Activations, read_activations
from keyneurons.pipeline.basis import with_fitted_basis
from keyneurons.pipeline.controls.control import Case
from keyneurons.pipeline.dataset import Dataset, LabelledText, load_text
from keyneurons.pipeline.evidence import Evidence
from keyneurons.pipeline.given_sets import GivenSets
from keyneurons.pipeline.key_neurons import KeyNeurons, Reselection, Selection, find_key_neurons
from keyneurons.pipeline.layers import LayerChecks, Layers, measure_layers, without_first_words
from keyneurons.pipeline.lesions.plan import LesionStudy
from keyneurons.pipeline.lesions.results import LesionResult
from keyneurons.pipeline.lesions.study import study_lesions
from keyneurons.pipeline.probing import Probing, probe_key_neurons
from keyneurons.pipeline.reliability import Checks, Reliability, check_reliability
from keyneurons.pipeline.scored_words import ScoredWords, activated_words, attributed_words
from keyneurons.pipeline.taggings import planned_taggings
from keyneurons.pipeline.unseen_words import OnUnseenWords, UnseenWords, measure_unseen_words
from keyneurons.pipeline.verdict import Verdict, judge
from keyneurons.pipeline.worth import SizeCurves, Worth, measure_worth
from keyneurons.records import Labels


@dataclass(frozen=True)
class Experiment:
    """The settings and components of one run.

    ``method`` is the name of the scorer in records. With ``attribute``, neurons are scored by their
    attributions to the prediction of words instead of by their activations. ``sample_words`` is the
    number of train words to score; None takes all.
    """

    dataset: Dataset
    read: ActivationReader
    store: Store
    sample_words: int | None
    attribute: AttributionReader | None
    selection: Selection | GivenSets
    method: str
    probing: Probing
    curves: SizeCurves
    checks: Checks
    unseen: UnseenWords | None
    layers: LayerChecks
    lesions: LesionStudy | None
    seed: int

    @property
    def given_sets(self) -> str | None:
        """Digest of the file of given sets; None if the run selects its key neurons itself."""
        return self.selection.origin.digest if isinstance(self.selection, GivenSets) else None

    def on(self, text: LabelledText) -> Experiment:
        """The experiment with a basis that fits the text."""
        return replace(self, read=with_fitted_basis(self.read, text.treebank, self.store))

    def scored_words(self, text: LabelledText, labels: Labels, activations: Activations) -> ScoredWords:
        """The train words with the values that the scorer uses."""
        if self.attribute is None:
            return activated_words(activations, labels, text.treebank, self.sample_words, self.seed)
        if isinstance(method := self.attribute.method, AblationEffect):
            return ablated_words(self.attribute, method, labels, text.treebank, activations, seed=self.seed)
        return attributed_words(self.attribute, labels, text.treebank, store=self.store is True, seed=self.seed)

    def activations(self, text: LabelledText) -> Activations:
        """The activations of a text; taggings that the run will need share one pass."""
        selects = isinstance(self.selection, Selection) and self.attribute is None and self.sample_words is None
        planned = planned_taggings(
            text.labels,
            text.treebank,
            self.probing.controls.values() if selects else (),
            halves=self.checks.halves if selects else 0,
            unseen=self.unseen,
            seed=self.seed,
        )
        return read_activations(self.read, text.treebank, store=self.store, planned=planned)

    def case(self, text: LabelledText, labels: Labels, key_neurons: KeyNeurons, activations: Activations) -> Case:
        """The key neurons with everything that probes and controls need."""
        sentences = sentence_of_rows(text.treebank.splits["test"], labels.splits["test"].rows)
        reselect = None
        if not isinstance(self.selection, GivenSets):
            reselect = Reselection(self.selection, key_neurons.words, activations)
        return Case(labels, activations, key_neurons.sets, sentences, self.seed, reselect, self.probing.results)

    def key_neurons(self, text: LabelledText, labels: Labels, activations: Activations) -> KeyNeurons:
        """Select the key neurons on the train words of some labels."""
        selected = find_key_neurons(self.selection, self.scored_words(text, labels, activations))
        return replace(selected, sets=replace(selected.sets, basis=self.read.basis.name))

    def check(self, text: LabelledText) -> None:
        """Check early that the text has the words that later stages need.

        Raises:
            ValueError: Words for the lesions or for the measurement of single layers are missing.
        """
        if self.lesions is not None:
            self.lesions.check_tags(text.labels.names)
        if self.layers.read_at:
            without_first_words(text.labels, text.treebank)


@dataclass(frozen=True)
class Result:
    """The results of all stages of a run; None for optional stages that were not requested."""

    experiment: Experiment
    text: LabelledText
    key_neurons: KeyNeurons
    overlap: Overlap
    evidence: Evidence
    worth: Worth | None
    verdict: Verdict | None
    reliability: Reliability
    unseen: OnUnseenWords | None
    layers: Layers
    lesions: LesionResult | None

    @cached_property
    def metrics(self) -> Mapping[str, float]:
        """The metrics of all stages by their MLflow names, in alphabetical order."""
        stages = (self.text, self.key_neurons, self.overlap, self.evidence, self.reliability, self.layers)
        optional = [stage for stage in (self.worth, self.verdict, self.unseen, self.lesions) if stage is not None]
        return dict(sorted(item for stage in (*stages, *optional) for item in stage.metrics().items()))


def run_experiment(experiment: Experiment) -> Result:
    """Run all stages: read, score, select, probe, compare at equal size, check, lesion.

    Args:
        experiment: The settings and components.

    Returns:
        The results of all stages.

    Raises:
        ValueError: The data, the activations or the scores are unsuitable; the message gives the
            reason.
    """
    seed = experiment.seed
    text = load_text(experiment.dataset, experiment.read)
    experiment.check(text)
    run = experiment.on(text)
    activations = run.activations(text)

    def probe(labels: Labels) -> Evidence:
        key_neurons = run.key_neurons(text, labels, activations)
        return probe_key_neurons(run.probing, run.case(text, labels, key_neurons, activations))

    key_neurons = run.key_neurons(text, text.labels, activations)
    shared = overlap(key_neurons.sets)
    case = run.case(text, text.labels, key_neurons, activations)
    evidence = probe_key_neurons(run.probing, case)
    worth = None
    if run.store is True:  # the largest sets have all neurons
        worth = measure_worth(run.curves, run.probing.train, case, evidence)
    reliability = check_reliability(run.checks, run.selection, run.read, text, key_neurons, evidence)
    unseen, lesions = None, None
    if run.unseen is not None:
        unseen = measure_unseen_words(run.unseen, text.labels, probe, seed)
    layers = measure_layers(run.layers, run.read, text, key_neurons.sets, run.probing, seed)
    if run.lesions is not None:
        lesions = study_lesions(
            run.lesions, run.read, text, activations.stored(), key_neurons, run.probing.train.probe_of_all, seed
        )
    return Result(
        experiment=run,
        text=text,
        key_neurons=key_neurons,
        overlap=shared,
        evidence=evidence,
        worth=worth,
        verdict=judge(evidence),
        reliability=reliability,
        unseen=unseen,
        layers=layers,
        lesions=lesions,
    )
