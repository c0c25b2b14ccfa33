"""Transfer: probes trained on the words of one language and tested on those of every other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from keyneurons.analysis.controls import empirical_p_value, matched_random_sets
from keyneurons.analysis.multiple_tests import adjusted_p_values
from keyneurons.analysis.sentence_bootstrap import Difference, SentenceBootstrap
from keyneurons.data.labels import of_tags
from keyneurons.data.word_features import sentence_of_rows
from keyneurons.pipeline.activations import Activations
from keyneurons.pipeline.probes import TrainedProbe, Training
from keyneurons.probe.standardise import PIECE, Standardiser
from keyneurons.progress import stage
from keyneurons.records import Labels, NeuronSets, Treebank

RANDOM_SETS = 99
Reference = Literal["source", "target"]


@dataclass(frozen=True)
class LanguageText:
    """The labelled words of a language, their activations, and its key neurons."""

    name: str
    treebank: Treebank
    labels: Labels
    activations: Activations
    sets: NeuronSets

    def of_tags(self, names: Sequence[str]) -> LanguageText:
        """The words and key neurons of some tags."""
        sets = replace(self.sets, tags={name: self.sets.tags[name] for name in names})
        return replace(self, labels=of_tags(self.labels, names), sets=sets)

    def without_sentences_of(self, source: LanguageText) -> LanguageText:
        """The language without the test words of sentences in the train split of another.

        Raises:
            ValueError: If none are left.
        """
        known = {sentence.text for sentence in source.treebank.splits["train"]}
        leaked = np.array([sentence.text in known for sentence in self.treebank.splits["test"]])
        test = self.labels.splits["test"]
        kept = ~leaked[sentence_of_rows(self.treebank.splits["test"], test.rows)]
        if not kept.any():
            raise ValueError(f"all test sentences of {self.name} are train sentences of {source.name}")
        return replace(self, labels=replace(self.labels, splits={**self.labels.splits, "test": test.of(kept)}))


@dataclass(frozen=True)
class Cell:
    """A probe of one language on the test words of another, beside random neurons and the majority.

    ``standardised`` says on whose train words activations are standardised: on those of the
    ``source``, as the probe was trained, or without tags on those of the ``target``, which removes
    differences between the means of two languages or scripts. ``random`` and ``spread`` are mean
    and standard deviation of the accuracies of random sets; ``difference`` is the accuracy of the
    key neurons minus ``random``; ``p_adjusted`` is corrected over the cells of one
    ``standardised``. ``majority`` is the accuracy of the target's most frequent train tag. The
    ``new_words`` are the test words whose type does not occur in the source's train split; their
    accuracies are None without any.
    """

    source: str
    target: str
    standardised: Reference
    words: int
    accuracy: float
    random: float
    spread: float
    majority: float
    difference: Difference
    new_words: int
    new_accuracy: float | None
    new_random: float | None
    p_adjusted: float = 1.0


@dataclass(frozen=True)
class Transfer:
    """The cells of all pairs of languages, a language with itself included, on the same tags."""

    names: tuple[str, ...]
    tags: tuple[str, ...]
    cells: tuple[Cell, ...]


def measure_transfer(
    texts: Sequence[LanguageText], train: Training, *, resamples: int, seed: int, random_sets: int = RANDOM_SETS
) -> Transfer:
    """Train a probe on the key neurons of every language and test it on every language.

    Only words of the tags that all languages have are used, and the key neurons of these tags. Test
    sentences that are train sentences of the source are left out.

    Args:
        texts: The languages, of the same model, site and layers.
        train: The training of probes.
        resamples: Number of resamples of the target's test sentences, for intervals.
        seed: Seed of random sets and resamples.
        random_sets: Number of random sets with as many neurons in every layer.

    Returns:
        The cells by source and target.

    Raises:
        ValueError: If the languages have fewer than two tags in common, or a language no key
            neurons of them.
    """
    tags = tuple(sorted(set.intersection(*(set(text.labels.names) for text in texts))))
    if len(tags) < 2:
        each = "; ".join(f"{text.name}: {', '.join(text.labels.names)}" for text in texts)
        raise ValueError(f"transfer needs two tags that all languages have, got {', '.join(tags) or 'none'} ({each})")
    own = [text.of_tags(tags) for text in texts]
    if empty := [text.name for text in own if not text.sets.union()]:
        raise ValueError(f"transfer needs key neurons of {', '.join(tags)}; {', '.join(empty)} has none")
    cells: list[Cell] = []
    with stage("transfer between languages", total=len(own) ** 2, unit="pairs") as progress:
        for source in own:
            probes = _probes(source, train, random_sets, seed)
            for target in own:
                tested = target if target is source else target.without_sentences_of(source)
                cells += _cells(source, tested, probes, resamples, seed)
                progress.advance()
    return Transfer(tuple(text.name for text in texts), tags, tuple(_adjusted(cells)))


def _probes(source: LanguageText, train: Training, random_sets: int, seed: int) -> list[TrainedProbe]:
    """The probe on the key neurons of a language, and those on random sets; columns are neurons."""
    from keyneurons.probe.fit import ProbeTask

    key, sets = source.sets.union(), source.sets
    random = matched_random_sets(key, sets.neurons_per_layer, len(sets.layers), random_sets, seed)
    columns = np.concatenate([np.array(key)[None], random])
    needed = np.unique(columns)
    classes = {split: torch.as_tensor(words.tags).long()[None] for split, words in source.labels.splits.items()}
    task = ProbeTask(np.searchsorted(needed, columns), classes, len(source.labels.names))
    [own] = train(source.activations.rows(source.labels, needed), [task])
    parts = zip(columns, own.mean, own.std, own.weights, own.biases, strict=True)
    return [TrainedProbe(*part) for part in parts]


def _cells(
    source: LanguageText, target: LanguageText, probes: Sequence[TrainedProbe], resamples: int, seed: int
) -> Iterator[Cell]:
    """The cells of a pair, standardised on the source and on the target."""
    needed = np.unique(np.concatenate([probe.columns for probe in probes]))
    values = {s: own.float() for s, own in target.activations.columns(target.labels, needed).items() if s != "dev"}
    words = target.labels.splits["test"]
    majority = float((words.tags == np.bincount(target.labels.splits["train"].tags).argmax()).mean())
    seen = set(source.labels.splits["train"].types)
    new = np.array([each not in seen for each in words.types], dtype=bool)
    bootstrap = SentenceBootstrap.of(sentence_of_rows(target.treebank.splits["test"], words.rows), resamples, seed)
    scale = Standardiser.fit(torch.split(values["train"], PIECE))
    for standardised in ("source", "target"):
        correct = []
        for probe in probes:
            at = np.searchsorted(needed, probe.columns)
            used = replace(probe, mean=scale.mean[at], std=scale.std[at]) if standardised == "target" else probe
            correct.append(_predicted(used, values["test"][:, at]) == words.tags)
        key, random = correct[0], np.stack(correct[1:])
        yield Cell(
            source=source.name,
            target=target.name,
            standardised=standardised,
            words=len(words.rows),
            accuracy=float(key.mean()),
            random=float(random.mean()),
            spread=float(random.mean(axis=1).std(ddof=1)),
            majority=majority,
            difference=_difference(key, random, bootstrap),
            new_words=int(new.sum()),
            new_accuracy=float(key[new].mean()) if new.any() else None,
            new_random=float(random[:, new].mean()) if new.any() else None,
        )


def _predicted(probe: TrainedProbe, values: Float[Tensor, "words features"]) -> ndarray:
    predicted: ndarray = probe(values).argmax(dim=1).numpy()
    return predicted


def _difference(
    key: Bool[ndarray, " words"], random: Bool[ndarray, "sets words"], bootstrap: SentenceBootstrap
) -> Difference:
    """Accuracy of the key neurons minus that of random sets, as for the controls of a run."""
    accuracies = random.mean(axis=1)
    resampled = bootstrap.means(key[None])[:, 0] - bootstrap.one_of(bootstrap.means(random))
    value, spread = float(key.mean() - accuracies.mean()), float(accuracies.std(ddof=1))
    least_p = empirical_p_value(float(key.mean()), accuracies)
    return Difference.tested(value, resampled, least_p, value / spread if spread else None)


def _adjusted(cells: Sequence[Cell]) -> list[Cell]:
    keys = {(cell.standardised, i): cell.difference.p_value for i, cell in enumerate(cells)}
    adjusted: dict[tuple[Reference, int], float] = {}
    for reference in ("source", "target"):
        adjusted |= adjusted_p_values({key: p for key, p in keys.items() if key[0] == reference})
    return [replace(cell, p_adjusted=adjusted[cell.standardised, i]) for i, cell in enumerate(cells)]
