"""A lesion study: lesions of every tag's key neurons and of control sets, measured on all tags."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from tqdm import tqdm

from keyneurons.activations.alignment import Encoded
from keyneurons.activations.reader import ActivationReader
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.pairs import pair_margins
from keyneurons.lesion.surprisal import Readout, Surprisal
from keyneurons.pipeline.activations import Activations, StoredActivations
from keyneurons.pipeline.dataset import LabelledText
from keyneurons.pipeline.key_neurons import KeyNeurons
from keyneurons.pipeline.lesions.control_sets import draw_sets, mismatch, neuron_statistics
from keyneurons.pipeline.lesions.generated import generate, lexicon_of
from keyneurons.pipeline.lesions.plan import LesionStudy, Plan
from keyneurons.pipeline.lesions.readouts import ProbeOf, gold_tags, later_probe, tag_mass, tags_of_tokens
from keyneurons.pipeline.lesions.results import LesionResult, Pairs, lesion_result
from keyneurons.pipeline.lesions.words import MeasuredWords, words_to_measure
from keyneurons.pipeline.probes import TrainedProbe
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
        ValueError: Fewer than two tags, or not the target tag of a translation, have key neurons
            and words to measure.
    """
    treebank, labels, scores = text.treebank, text.labels, key_neurons.scores
    sets = key_neurons.sets if study.neurons is None else study.neurons

    def probe_of_layer(later: StoredActivations) -> TrainedProbe:
        return probe_of(later, labels, read.model.width(later.site))

    if unknown := [tag for tag in sets.tags if tag not in labels.names and tag not in labels.left_out]:
        raise ValueError(f"the key neurons have the tag {unknown[0]!r}; the treebank has {', '.join(labels.names)}")
    names = tuple(tag for tag in labels.names if sets.tags.get(tag))
    without = tuple(tag for tag in labels.names if tag not in names)
    encoded, measured, names = words_to_measure(read, treebank, labels, names, study.split, study.sentences)
    study.check_tags(names)
    driver = activations.source(labels, "layer", 2**29)
    statistics = neuron_statistics(driver, labels, names)
    columns = {tag: np.array(sets.columns(tag), dtype=np.int64) for tag in names}
    drawn = {
        family: draw_sets(family, study.sets, columns, scores, labels, statistics, seed) for family in study.families
    }
    plan = Plan.of(study, names, columns, drawn, statistics.means)
    donors = _donors(study, driver, seed)
    surprisal = Surprisal(read.model, read.site, study.batch_tokens, study.pass_tokens, donors, seed)
    readouts = _readouts(study, read, treebank, labels, probe_of_layer, names, measured)
    values = _measure(plan, surprisal, encoded, measured, readouts)
    mismatches = {family: mismatch(family, control_sets, columns, statistics) for family, control_sets in drawn.items()}
    result = replace(lesion_result(plan, measured, values, mismatches, seed), without=without)
    if study.pairs:
        result = replace(result, pairs=_judge(plan, surprisal, read))
    if study.generation is not None:
        lexicon = lexicon_of(labels.splits["train"], labels.names)
        first_controls = plan.control_lesions[:: study.sets]
        generated = generate(read, study.generation, names, plan.key_lesions, first_controls, lexicon)
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
    gold = gold_tags(names, labels, measured.tags[measured.studied])
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
    return {layer: torch.from_numpy(array[np.sort(chosen)]).float() for layer, array in driver.arrays.items()}


def _measure(
    plan: Plan,
    surprisal: Surprisal,
    encoded: Sequence[Encoded],
    measured: MeasuredWords,
    readouts: Mapping[str, Readout],
) -> dict[str, Float[ndarray, "passes words"]]:
    """Bits and other readouts of every word under every condition, intact first.

    Words of no tag under study are measured under the lesions of whole sets only, without readouts.
    """
    studied, n_keys = measured.studied, len(plan.key_lesions)
    conditions = [Condition({}, {}), *plan.conditions]
    values = np.full((1 + len(readouts), len(conditions), len(measured.words)), math.nan)
    parts = [(studied, conditions, list(readouts.values())), (~studied, conditions[: 1 + n_keys], [])]
    total = sum(int(part.sum()) * len(chosen) for part, chosen, _ in parts)
    with tqdm(desc="lesions", total=total, unit=" words", unit_scale=True, leave=False, disable=None) as bar:
        for part, chosen, part_readouts in parts:
            if not part.any():
                continue
            where = None
            if plan.study.where == "predicted":
                tags = np.concatenate([[-2], plan.tag])[: len(chosen), None]
                where = tags == measured.tags[part][None]
            of_part = surprisal.measure(
                encoded, measured.of(part), chosen, part_readouts, where=where, on_progress=bar.update
            )
            values[np.ix_(np.arange(len(of_part)), np.arange(len(chosen)), np.flatnonzero(part))] = of_part
    return dict(zip(["bits", *readouts], values, strict=True))


def _judge(plan: Plan, surprisal: Surprisal, read: ActivationReader) -> Pairs:
    """Judge the minimal pairs: intact, under each lesion, under the first family of controls."""
    pairs, names = plan.study.pairs, plan.names
    conditions = [Condition({}, {}), *plan.key_lesions, *plan.control_lesions]
    with tqdm(desc="minimal pairs", total=2 * len(pairs) * len(conditions), leave=False, disable=None) as bar:
        margins = pair_margins(surprisal, read, pairs, conditions, bar.update)
    correct, phenomena = margins > 0, np.array([pair.phenomenon for pair in pairs])

    def by_phenomenon(row: Bool[ndarray, " pairs"]) -> dict[str, float]:
        return {str(name): float(row[phenomena == name].mean()) for name in np.unique(phenomena)}

    own = {name: correct[1 + i] for i, name in enumerate(names)}
    of_controls = correct[1 + len(names) :].mean(axis=1).reshape(len(names), -1).mean(axis=1)
    return Pairs(
        by_phenomenon(correct[0]),
        {"intact": float(correct[0].mean()), **{name: float(row.mean()) for name, row in own.items()}},
        {name: by_phenomenon(row) for name, row in own.items()},
        dict(zip(names, of_controls.tolist(), strict=True)),
        {name: float(row.mean()) for name, row in zip(["intact", *names], margins, strict=False)},
    )
