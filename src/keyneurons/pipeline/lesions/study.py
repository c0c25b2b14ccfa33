"""A lesion study: lesions of every tag's key neurons and of control sets, measured on all tags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from keyneurons.activations.reader import ActivationReader
from keyneurons.arrays import read_array
from keyneurons.lesion.surprisal import Readout, Surprisal
from keyneurons.pipeline.activations import Activations, StoredActivations
from keyneurons.pipeline.dataset import LabelledText
from keyneurons.pipeline.key_neurons import KeyNeurons
from keyneurons.pipeline.lesions.control_sets import draw_sets, mismatch, neuron_statistics
from keyneurons.pipeline.lesions.generated import generate_under_lesions
from keyneurons.pipeline.lesions.measuring import Measuring
from keyneurons.pipeline.lesions.pairs import judge_pairs
from keyneurons.pipeline.lesions.plan import LesionStudy, Plan
from keyneurons.pipeline.lesions.readouts import ProbeOf, gold_tags, later_probe, tag_mass, tags_of_tokens
from keyneurons.pipeline.lesions.results import LesionResult, lesion_result
from keyneurons.pipeline.lesions.words import MeasuredWords, words_to_measure
from keyneurons.pipeline.probes import TrainedProbe
from keyneurons.pipeline.steering.taggers import lexicon_of
from keyneurons.records import Labels, Treebank
from keyneurons.selection.scoring import Driver

DONORS = 512  # train words whose activations replace others


def study_lesions(
    study: LesionStudy,
    read: ActivationReader,
    text: LabelledText,
    activations: StoredActivations,
    key_neurons: KeyNeurons,
    probe_of: Callable[[Activations, Labels, int], TrainedProbe],
    seed: int,
) -> LesionResult:
    """Lesion the key neurons of every tag and the control sets, and measure the effects.

    Args:
        study: The settings of the study.
        read: Reader of activations of the same model at the same site.
        text: All sentences and the labelled words.
        activations: The activations of the train words, for means and matching.
        key_neurons: The key neurons, lesioned unless the study has its own, and scores for the
            lowest ranked.
        probe_of: Trains a probe on all neurons of some activations, given their number.
        seed: Seed of all random draws.

    Returns:
        Changes of surprisal and of the other readouts, with their controls.

    Raises:
        ValueError: Fewer than two tags, or not a tag that the study names, have key neurons and
            words to measure.
    """
    study = replace(study, lesion=replace(study.lesion, basis=read.basis))
    treebank, labels, scores = text.treebank, text.labels, key_neurons.scores
    sets = key_neurons.sets if study.neurons is None else study.neurons

    def probe_of_layer(later: StoredActivations) -> TrainedProbe:
        return probe_of(later, labels, read.model.width(later.site))

    if unknown := [tag for tag in sets.tags if tag not in labels.names and tag not in labels.left_out]:
        raise ValueError(f"the key neurons have the tag {unknown[0]!r}; the treebank has {', '.join(labels.names)}")
    names = tuple(tag for tag in labels.names if sets.tags.get(tag))
    without = tuple(tag for tag in labels.names if tag not in names)
    encoded, measured, chosen = words_to_measure(
        read, treebank, labels, names, study.split, study.sentences, study.chosen_tags
    )
    omitted, names = tuple(tag for tag in names if tag not in chosen), chosen
    study.check_tags(names)
    driver = activations.source(labels, "layer", 2**29)
    statistics = neuron_statistics(driver, labels, names)
    columns = {tag: np.array(sets.columns(tag), dtype=np.int64) for tag in names}
    n_sets = study.sets + study.further_sets
    drawn = {family: draw_sets(family, n_sets, columns, scores, labels, statistics, seed) for family in study.families}
    plan = Plan.of(study, names, columns, drawn, statistics.means)
    donors = _donors(study, driver, seed)
    surprisal = Surprisal(read.model, read.site, study.batch_tokens, study.pass_tokens, donors, seed)
    readouts = _readouts(study, read, treebank, labels, probe_of_layer, names, measured)
    measurement = Measuring(plan, surprisal, encoded, measured, readouts)()
    mismatches = {family: mismatch(family, control_sets, columns, statistics) for family, control_sets in drawn.items()}
    result = replace(lesion_result(plan, measured, measurement, mismatches, seed), without=without, omitted=omitted)
    if study.pairs:
        result = replace(result, pairs=judge_pairs(plan, surprisal, read))
    if study.generation is not None:
        lexicon = lexicon_of(labels.splits["train"], labels.names)
        generated = generate_under_lesions(read, study.generation, plan, lexicon, seed)
        result = replace(result, generated=generated)
    return result


def _readouts(
    study: LesionStudy,
    read: ActivationReader,
    treebank: Treebank,
    labels: Labels,
    probe_of: ProbeOf,
    names: tuple[str, ...],
    measured: MeasuredWords,
) -> dict[str, Readout]:
    gold = gold_tags(names, labels, measured.tags)
    readouts = {
        f"accuracy_in_layer_{layer}": later_probe(read, treebank, layer, probe_of, gold) for layer in study.later_layers
    }
    if study.tag_mass:
        readouts["tag_mass"] = tag_mass(read.model.predictor, tags_of_tokens(read, treebank, labels), gold)
    return readouts


def _donors(study: LesionStudy, driver: Driver, seed: int) -> dict[int, torch.Tensor] | None:
    if not study.lesion.needs_donors:
        return None
    chosen = np.random.default_rng(seed).choice(driver.rows, min(DONORS, len(driver.rows)), replace=False)
    return {
        layer: torch.from_numpy(read_array(array, np.sort(chosen))).float() for layer, array in driver.arrays.items()
    }
