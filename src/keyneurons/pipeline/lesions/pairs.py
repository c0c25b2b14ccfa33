"""Accuracy on minimal pairs under lesions, by language and phenomenon, beside control sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from keyneurons.activations.reader import ActivationReader
from keyneurons.data.minimal_pairs import MinimalPair
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.pairs import pair_margins
from keyneurons.lesion.surprisal import Surprisal
from keyneurons.pipeline.lesions.measuring import Steps
from keyneurons.pipeline.lesions.plan import Plan
from keyneurons.progress import stage


@dataclass(frozen=True)
class PairEffect:
    """Accuracy on some pairs under the lesion of a tag, and under its control sets.

    ``control_mean`` and ``control_std`` are over the sets. ``p_value`` is the share of sets that
    hurt at least as much, ``(1 + sets with an accuracy not above) / (1 + sets)``, not corrected for
    the number of phenomena and tags.
    """

    lesioned: float
    control_mean: float
    control_std: float
    p_value: float

    @classmethod
    def of(cls, lesioned: float, controls: ndarray) -> PairEffect:
        """Compare an accuracy with those under control sets."""
        hurt = int((controls <= lesioned).sum())
        return cls(lesioned, float(controls.mean()), float(controls.std(ddof=1)), (1 + hurt) / (1 + len(controls)))


@dataclass(frozen=True)
class PairGroup:
    """Pairs of one language and phenomenon: their number, accuracy, and effects by tag."""

    language: str
    phenomenon: str
    pairs: int
    intact: float
    effects: Mapping[str, PairEffect]

    @property
    def name(self) -> str:
        """Language and phenomenon, or the phenomenon alone."""
        return f"{self.language}/{self.phenomenon}" if self.language else self.phenomenon


@dataclass(frozen=True)
class Pairs:
    """Accuracy on all minimal pairs and on groups of them, beside the first family of control sets.

    ``margins`` are the mean bits by which the ungrammatical sentence is more surprising, for
    ``intact`` and each tag's lesion.
    """

    every: PairGroup
    groups: tuple[PairGroup, ...]
    margins: Mapping[str, float]

    def metrics(self, mode: str, family: str) -> dict[str, float]:
        """Accuracies: intact, under each tag's lesion and under its sets of a family; p-values."""
        values = {"lesion/intact/pair_accuracy": self.every.intact}
        for tag, effect in self.every.effects.items():
            values[f"lesion/{mode}/pair_accuracy/{tag}"] = effect.lesioned
            values[f"lesion/{mode}/{family}/pair_accuracy/{tag}"] = effect.control_mean
            values[f"lesion/{mode}/{family}/pair_accuracy_p_value/{tag}"] = effect.p_value
        for group in self.groups:
            values[f"lesion/pairs/intact/{group.name}"] = group.intact
            for tag, effect in group.effects.items():
                values[f"lesion/pairs/{mode}/{tag}/{group.name}"] = effect.lesioned
                values[f"lesion/pairs/{mode}/{family}/{tag}/{group.name}"] = effect.control_mean
                values[f"lesion/pairs/{mode}/{family}/p_value/{tag}/{group.name}"] = effect.p_value
        return values


def judge_pairs(plan: Plan, surprisal: Surprisal, read: ActivationReader) -> Pairs:
    """Judge the minimal pairs: intact, under each lesion, under the first family of controls."""
    pairs, names = plan.study.pairs, plan.names
    conditions = [Condition({}, {}), *plan.key_lesions, *plan.control_lesions]
    with stage("minimal pairs", total=len(conditions), unit="conditions") as progress:
        margins = pair_margins(surprisal, read, pairs, conditions, Steps(progress))
    every, groups = group_pairs(pairs, margins > 0, names)
    return Pairs(
        every, groups, {name: float(row.mean()) for name, row in zip(["intact", *names], margins, strict=False)}
    )


def group_pairs(
    pairs: Sequence[MinimalPair], correct: Bool[ndarray, "conditions pairs"], names: Sequence[str]
) -> tuple[PairGroup, tuple[PairGroup, ...]]:
    """Accuracy on all pairs, and by language and phenomenon in alphabetical order.

    Args:
        pairs: The pairs.
        correct: Whether each is judged correctly: intact, under the lesion of each tag, then under
            the control sets of each tag, tag by tag.
        names: The tags.

    Returns:
        The group of all pairs, and the groups.
    """

    def group(language: str, phenomenon: str, chosen: Bool[ndarray, " pairs"]) -> PairGroup:
        accuracy = correct[:, chosen].mean(axis=1)
        controls = accuracy[1 + len(names) :].reshape(len(names), -1)
        effects = {
            name: PairEffect.of(float(accuracy[1 + i]), own)
            for i, (name, own) in enumerate(zip(names, controls, strict=True))
        }
        return PairGroup(language, phenomenon, int(chosen.sum()), float(accuracy[0]), effects)

    labels = [(pair.language, pair.phenomenon) for pair in pairs]
    number = {label: i for i, label in enumerate(sorted(set(labels)))}
    numbers = np.array([number[label] for label in labels])
    groups = tuple(group(*label, numbers == i) for label, i in number.items())
    return group("", "all", np.ones(len(pairs), dtype=bool)), groups
