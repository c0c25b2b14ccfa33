"""Does the model need its key neurons? Lesions of every tag's set beside control sets, measured on all tags' words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from tqdm import tqdm

from keyneurons.activations.alignment import Encoded
from keyneurons.activations.reader import ActivationReader
from keyneurons.analysis.dissociation import (
    Dissociation,
    Effect,
    bootstrap_interval,
    dissociation,
    effect,
    mean_changes,
)
from keyneurons.data.minimal_pairs import MinimalPair
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.generation import Generation
from keyneurons.lesion.modes import Lesion
from keyneurons.lesion.pairs import pair_margins
from keyneurons.lesion.surprisal import Surprisal, Words
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.generated import Generated, generate, lexicon_of
from keyneurons.pipeline.lesion_sets import Facts, Family, draw_sets, facts_of, mismatch
from keyneurons.records import Labels, NeuronSets, Scores, Split, Treebank
from keyneurons.selection.driver import Driver

LEVEL = 0.95  # of the intervals
DONORS = 512  # train words that lend their activations


@dataclass(frozen=True)
class LesionStudy:
    """What is lesioned how, and against what it is held.

    ``where`` is everywhere, or only where words of the lesioned tag are predicted; ``shares`` are doses, each the share
    of a tag's strongest key neurons; each of ``families`` gives ``sets`` control sets for every tag. Measured are the
    first ``sentences`` of ``split``. ``neurons`` takes the place of the run's own sets; ``pairs`` are
    minimal pairs to judge, ``generation`` texts to continue.
    """

    lesion: Lesion
    where: Literal["everywhere", "predicted"]
    shares: tuple[float, ...]
    families: tuple[Family, ...]
    sets: int
    split: Split
    sentences: int
    bootstraps: int
    permutations: int
    alpha: float
    batch_tokens: int
    pass_tokens: int
    neurons: NeuronSets | None = None
    pairs: tuple[MinimalPair, ...] = ()
    generation: Generation | None = None


@dataclass(frozen=True)
class Pairs:
    """Accuracy on minimal pairs: intact by phenomenon; under each tag's lesion beside the mean over its random sets.

    ``margins`` are the mean bits by which the ungrammatical sentence is the more surprising, for ``intact`` and each
    tag's lesion.
    """

    intact: Mapping[str, float]
    accuracy: Mapping[str, float]
    lesioned: Mapping[str, Mapping[str, float]]
    controls: Mapping[str, float]
    margins: Mapping[str, float]


@dataclass(frozen=True)
class Against:
    """A family of control sets: the effect on each tag's own words, the dissociation, how well the sets are matched."""

    effects: Mapping[str, Effect]
    dissociation: Dissociation | None
    mismatch: float | None


@dataclass(frozen=True)
class LesionResult:
    """What lesions do, in bits of surprisal a word; positive is worse.

    ``change`` is ``[lesioned tag, measured tag]``, ``intervals`` that of a tag's own words; ``doses`` by share the
    change of every tag's own words; ``guard`` by lesioned tag the change of words of no tag under study.
    """

    study: LesionStudy
    tags: tuple[str, ...]
    words: Mapping[str, int]
    intact: Mapping[str, float]
    change: Float[ndarray, "tags tags"]
    intervals: Mapping[str, tuple[float, float]]
    doses: Mapping[float, Mapping[str, float]]
    guard: Mapping[str, float]
    against: Mapping[str, Against]
    pairs: Pairs | None = None
    generated: Generated | None = None


@dataclass(frozen=True)
class _Measured:
    """The words that are measured: where they are, their tags (-1 for those of no tag under study), their sentences."""

    words: Words
    tags: Int[ndarray, " words"]

    @property
    def studied(self) -> Bool[ndarray, " words"]:
        return self.tags >= 0


def study_lesions(
    study: LesionStudy,
    read: ActivationReader,
    treebank: Treebank,
    labels: Labels,
    activations: StoredActivations,
    scores: Scores,
    sets: NeuronSets,
    seed: int,
) -> LesionResult:
    """Lesion the key neurons of every tag, and control sets, and measure.

    Args:
        study: what is done.
        read: reads the activations of the same model at the same site.
        treebank: all sentences.
        labels: the labelled words.
        activations: those of the train words, for means and matching.
        scores: of all neurons, for the lowest ranked.
        sets: the key neurons.
        seed: of all draws.

    Returns:
        Changes of surprisal, with their controls.

    Raises:
        ValueError: fewer than two tags have key neurons and words to measure, or the tag of a translation has none.
    """
    names = tuple(tag for tag in labels.names if sets.tags.get(tag))
    encoded, measured, names = _measured(study, read, treebank, labels, names)
    if study.lesion.to is not None and study.lesion.to not in names:
        raise ValueError(f"lesion.to must be one of {', '.join(names)}, got {study.lesion.to}")
    driver = activations.driver(labels, "layer", 2**29)
    facts = facts_of(driver, labels, names)
    columns = {tag: np.array(sets.columns(tag), dtype=np.int64) for tag in names}
    drawn = {family: draw_sets(family, study.sets, columns, scores, labels, facts, seed) for family in study.families}

    def condition(chosen: Int[ndarray, " lesioned"], tag: int) -> Condition:
        return study.lesion.condition(chosen, tag, names, facts.means)

    keys = [condition(columns[tag], i) for i, tag in enumerate(names)]
    doses = [share for share in study.shares if share < 1]
    less = [condition(columns[t][: max(1, round(s * len(columns[t])))], i) for s in doses for i, t in enumerate(names)]
    controls = [condition(own, i) for family in drawn.values() for i, tag in enumerate(names) for own in family[tag]]
    lesioned = [i for _ in range(1 + len(doses)) for i in range(len(names))]
    lesioned += [i for family in drawn.values() for i, tag in enumerate(names) for _ in family[tag]]

    surprisal = Surprisal(
        read.model, read.site, study.batch_tokens, study.pass_tokens, _donors(study, driver, seed), seed
    )
    bits = _bits(study, surprisal, encoded, measured, [*keys, *less, *controls], np.array(lesioned), len(keys))
    found = _result(study, names, measured, bits, drawn, doses, columns, facts, seed)
    of_first = controls[: len(names) * study.sets]
    if study.pairs:
        found = replace(found, pairs=_judge(study, surprisal, read, names, keys, of_first))
    if study.generation is not None:
        lexicon = lexicon_of(labels.splits["train"], labels.names)
        written = generate(read, study.generation, names, keys, of_first[:: study.sets], lexicon)
        found = replace(found, generated=written)
    return found


def _measured(
    study: LesionStudy, read: ActivationReader, treebank: Treebank, labels: Labels, names: Sequence[str]
) -> tuple[list[Encoded], _Measured, tuple[str, ...]]:
    """The first sentences of the split, and their words that are predicted by tokens of their own.

    Raises:
        ValueError: fewer than two tags have such words.
    """
    sentences = treebank.splits[study.split][: study.sentences]
    encoded = replace(read, read_at="word", pooling="mean").encode(sentences)
    n_words = sum(len(e.reads) for e in encoded)
    tag_of_row = np.full(n_words, -1)
    split = labels.splits[study.split]
    here = split.rows < n_words
    tag_of_row[split.rows[here]] = split.tags[here]
    counts = np.bincount(tag_of_row[tag_of_row >= 0], minlength=len(labels.names))
    names = tuple(name for name in names if counts[labels.names.index(name)] > 0)
    if len(names) < 2:
        raise ValueError(
            f"lesions need two tags with key neurons and words in {len(sentences)} sentences of {study.split}, got "
            f"{', '.join(names) or 'none'}; raise lesion.sentences"
        )
    number = np.full(len(labels.names) + 1, -1)
    number[[labels.names.index(name) for name in names]] = np.arange(len(names))
    spans: list[tuple[int, int, int, int]] = []
    row = 0
    for s, e in enumerate(encoded):
        for w, (first, last) in enumerate(e.reads):
            if first > 0 and not (w and e.reads[w - 1][1] >= first):
                spans.append((s, first, last, int(number[tag_of_row[row]])))
            row += 1
    table = np.array(spans, dtype=np.int64).reshape(-1, 4)
    return encoded, _Measured(Words(table[:, 0], table[:, 1], table[:, 2]), table[:, 3]), names


def _donors(study: LesionStudy, driver: Driver, seed: int) -> dict[int, torch.Tensor] | None:
    if study.lesion.mode != "resample":
        return None
    chosen = np.random.default_rng(seed).choice(driver.rows, min(DONORS, len(driver.rows)), replace=False)
    return {layer: torch.from_numpy(array[np.sort(chosen)]).float() for layer, array in driver.arrays.items()}


def _bits(
    study: LesionStudy,
    surprisal: Surprisal,
    encoded: list[Encoded],
    measured: _Measured,
    conditions: Sequence[Condition],
    lesioned: Int[ndarray, " conditions"],
    n_keys: int,
) -> Float[ndarray, "passes words"]:
    """Bits of every word, intact first; words of no tag under study are measured under the key lesions alone."""
    studied, words = measured.studied, measured.words
    intact = Condition({}, {})
    found = np.full((1 + len(conditions), len(words)), math.nan)
    parts = [(studied, [intact, *conditions], lesioned), (~studied, [intact, *conditions[:n_keys]], lesioned[:n_keys])]
    total = sum(int(part.sum()) * len(chosen) for part, chosen, _ in parts)
    with tqdm(desc="lesions", total=total, unit=" words", unit_scale=True, leave=False, disable=None) as bar:
        for part, chosen, of_tag in parts:
            if not part.any():
                continue
            some = Words(words.sentence[part], words.first[part], words.last[part])
            where = None
            if study.where == "predicted":
                where = np.concatenate([[-2], of_tag])[:, None] == measured.tags[part][None]
            bits = surprisal(encoded, some, chosen, where=where, told=bar.update)
            found[np.ix_(np.arange(len(chosen)), np.flatnonzero(part))] = bits
    return found


def _result(
    study: LesionStudy,
    names: tuple[str, ...],
    measured: _Measured,
    bits: Float[ndarray, "passes words"],
    drawn: Mapping[Family, Mapping[str, Int[ndarray, "sets key"]]],
    doses: Sequence[float],
    columns: Mapping[str, Int[ndarray, " key"]],
    facts: Facts,
    seed: int,
) -> LesionResult:
    studied, n = measured.studied, len(names)
    tags, sentences = measured.tags[studied], measured.words.sentence[studied]
    changes = bits[1:, studied] - bits[0, studied]
    means = mean_changes(changes, tags, n)
    key, rest = means[:n], means[n:]
    of_doses = {1.0: dict(zip(names, key.diagonal().tolist(), strict=True))}
    for share in doses:
        of_doses[share] = {name: float(rest[i, i]) for i, name in enumerate(names)}
        rest = rest[n:]
    against: dict[str, Against] = {}
    for family, of_tags in drawn.items():
        controls = np.stack([rest[i * study.sets : (i + 1) * study.sets] for i in range(n)], axis=1)
        rest = rest[n * study.sets :]
        against[family] = Against(
            {name: effect(float(key[i, i]), controls[:, i, i]) for i, name in enumerate(names)},
            dissociation(key, controls, names, permutations=study.permutations, alpha=study.alpha, seed=seed),
            mismatch(family, of_tags, columns, facts),
        )
    if n > 2:
        others = {name: np.delete(key[:, i], i) for i, name in enumerate(names)}
        of_others = {name: effect(float(key[i, i]), others[name]) for i, name in enumerate(names)}
        against["other_tags"] = Against(of_others, None, None)
    intervals = {
        name: bootstrap_interval(
            changes[i, tags == i], sentences[tags == i], draws=study.bootstraps, level=LEVEL, seed=seed
        )
        for i, name in enumerate(names)
    }
    outside = bits[1 : n + 1, ~studied] - bits[0, ~studied]
    return LesionResult(
        study,
        names,
        {name: int((tags == i).sum()) for i, name in enumerate(names)},
        {name: float(bits[0, studied][tags == i].mean()) for i, name in enumerate(names)},
        key,
        intervals,
        dict(sorted(of_doses.items())),
        {name: float(row.mean()) for name, row in zip(names, outside, strict=True) if row.size},
        against,
    )


def _judge(
    study: LesionStudy,
    surprisal: Surprisal,
    read: ActivationReader,
    names: Sequence[str],
    keys: Sequence[Condition],
    controls: Sequence[Condition],
) -> Pairs:
    """Judge the minimal pairs intact, under each tag's lesion, and under its sets of the first family."""
    conditions = [Condition({}, {}), *keys, *controls]
    with tqdm(desc="minimal pairs", total=2 * len(study.pairs) * len(conditions), leave=False, disable=None) as bar:
        margins = pair_margins(surprisal, read, study.pairs, conditions, bar.update)
    right, phenomena = margins > 0, np.array([pair.phenomenon for pair in study.pairs])

    def by_phenomenon(row: Bool[ndarray, " pairs"]) -> dict[str, float]:
        return {str(name): float(row[phenomena == name].mean()) for name in np.unique(phenomena)}

    own = {name: right[1 + i] for i, name in enumerate(names)}
    of_controls = right[1 + len(names) :].mean(axis=1).reshape(len(names), -1).mean(axis=1)
    return Pairs(
        by_phenomenon(right[0]),
        {"intact": float(right[0].mean()), **{name: float(row.mean()) for name, row in own.items()}},
        {name: by_phenomenon(row) for name, row in own.items()},
        dict(zip(names, of_controls.tolist(), strict=True)),
        {name: float(row.mean()) for name, row in zip(["intact", *names], margins, strict=False)},
    )
