"""What lesions did: changes of surprisal and of other measures, beside control sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from keyneurons.analysis.dissociation import Dissociation, dissociation
from keyneurons.analysis.effects import Effect, bootstrap_interval, mean_changes
from keyneurons.analysis.effects import effect as effect_beside
from keyneurons.pipeline.lesions.generated import Generated
from keyneurons.pipeline.lesions.plan import LesionStudy, Plan
from keyneurons.pipeline.lesions.words import MeasuredWords

LEVEL = 0.95  # of the intervals


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

    def metrics(self, prefix: str, family: str) -> dict[str, float]:
        """Accuracies intact, and under each tag's lesion beside its sets of a family."""
        found = {"lesion/intact/pair_accuracy": self.accuracy["intact"]}
        for tag, control in self.controls.items():
            found[f"{prefix}/pair_accuracy/{tag}"] = self.accuracy[tag]
            found[f"{prefix}/{family}/pair_accuracy/{tag}"] = control
        return found


@dataclass(frozen=True)
class Against:
    """A family of control sets: the effect on each tag's own words, the dissociation, how well the sets are matched."""

    effects: Mapping[str, Effect]
    dissociation: Dissociation | None
    mismatch: float | None

    def metrics(self, prefix: str) -> dict[str, float]:
        """Change, p and effect size by tag, and the dissociation."""
        found = {}
        for tag, effect in self.effects.items():
            found[f"{prefix}/change/{tag}"] = effect.control_mean
            found[f"{prefix}/p_value/{tag}"] = effect.p_value
            if effect.effect_size is not None:
                found[f"{prefix}/effect_size/{tag}"] = effect.effect_size
        if self.dissociation is not None:
            found[f"{prefix}/diagonal_advantage"] = self.dissociation.diagonal_advantage
            found[f"{prefix}/diagonal_p_value"] = self.dissociation.p_value
            found[f"{prefix}/double_dissociations"] = float(len(self.dissociation.pairs))
        return found


@dataclass(frozen=True)
class Reading:
    """Something of which a tag's own words have less after a lesion that hurts, in the mean over them.

    ``intact``, and ``lesioned`` under the lesion of the tag's set; ``against`` has for each family of control sets the
    effects on what is lost.
    """

    intact: Mapping[str, float]
    lesioned: Mapping[str, float]
    against: Mapping[str, Mapping[str, Effect]]

    def metrics(self, prefix: str, name: str) -> dict[str, float]:
        """The measure of this name by tag: intact, under its lesion, under control sets."""
        found = {f"lesion/intact/{name}/{tag}": value for tag, value in self.intact.items()}
        found |= {f"{prefix}/{name}/{tag}": value for tag, value in self.lesioned.items()}
        for family, effects in self.against.items():
            for tag, effect in effects.items():
                found[f"{prefix}/{family}/{name}/{tag}"] = self.intact[tag] - effect.control_mean
                found[f"{prefix}/{family}/{name}_p_value/{tag}"] = effect.p_value
        return found


@dataclass(frozen=True)
class LesionResult:
    """What lesions do, in bits of surprisal a word; positive is worse.

    ``change`` is ``[lesioned tag, measured tag]``, ``intervals`` that of a tag's own words; ``doses`` by share the
    change of every tag's own words; ``guard`` by lesioned tag the change of words of no tag under study. ``readings``
    are the other measures by name; ``without`` the tags that have no key neurons to lesion.
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
    readings: Mapping[str, Reading]
    pairs: Pairs | None = None
    generated: Generated | None = None
    without: tuple[str, ...] = ()

    def metrics(self) -> dict[str, float]:
        """Changes of surprisal under the lesion of each tag's set, beside their controls, and the dissociations."""
        prefix, first = f"lesion/{self.study.lesion.mode}", self.study.families[0]
        found = {f"{prefix}/change/{tag}": float(self.change[i, i]) for i, tag in enumerate(self.tags)}
        found |= {f"{prefix}/intact_bits/{tag}": self.intact[tag] for tag in self.tags}
        found |= {f"{prefix}/guard/{tag}": self.guard[tag] for tag in self.tags if tag in self.guard}
        for family, against in self.against.items():
            found |= against.metrics(f"{prefix}/{family}")
        for name, reading in self.readings.items():
            found |= reading.metrics(prefix, name)
        if self.generated is not None:
            for tag, (_, own, control) in self.generated.shares.items():
                found[f"{prefix}/generated_share/{tag}"] = own
                found[f"{prefix}/{first}/generated_share/{tag}"] = control
        if self.pairs is not None:
            found |= self.pairs.metrics(prefix, first)
        if (dissociated := self.against[first].dissociation) is not None:
            found["lesion/diagonal_advantage"] = dissociated.diagonal_advantage
            found["lesion/diagonal_p_value"] = dissociated.p_value
        return found


def lesion_result(
    plan: Plan,
    measured: MeasuredWords,
    values: Mapping[str, Float[ndarray, "passes words"]],
    mismatches: Mapping[str, float | None],
    seed: int,
) -> LesionResult:
    """Compare what was measured under all conditions.

    Args:
        plan: the conditions.
        measured: the words.
        values: their ``bits`` and other readings, intact and then under every condition.
        mismatches: how far the sets of each family are from the key neurons.
        seed: of bootstraps and permutations.

    Returns:
        Changes beside those under control sets.
    """
    study, names, n = plan.study, plan.names, len(plan.names)
    studied, bits = measured.studied, values["bits"]
    tags, sentences = measured.tags[studied], measured.words.sentence[studied]
    changes = bits[1:, studied] - bits[0, studied]
    means = mean_changes(changes, tags, n)
    key = plan.key(means)
    against: dict[str, Against] = {}
    for family in study.families:
        controls = plan.of_family(means, family)
        against[family] = Against(
            {name: effect_beside(float(key[i, i]), controls[:, i, i]) for i, name in enumerate(names)},
            dissociation(key, controls, names, permutations=study.permutations, alpha=study.alpha, seed=seed),
            mismatches[family],
        )
    if n > 2:
        others = {name: np.delete(key[:, i], i) for i, name in enumerate(names)}
        of_others = {name: effect_beside(float(key[i, i]), others[name]) for i, name in enumerate(names)}
        against["other_tags"] = Against(of_others, None, None)
    doses = {1.0: key, **dict(zip(study.doses, plan.of_doses(means), strict=True))}
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
        {share: dict(zip(names, doses[share].diagonal().tolist(), strict=True)) for share in sorted(doses)},
        {name: float(row.mean()) for name, row in zip(names, outside, strict=True) if row.size},
        against,
        {name: _reading(plan, measured, rows[:, studied]) for name, rows in values.items() if name != "bits"},
    )


def _reading(plan: Plan, measured: MeasuredWords, values: Float[ndarray, "passes studied"]) -> Reading:
    names, tags = plan.names, measured.tags[measured.studied]
    means = mean_changes(values, tags, len(names))
    intact, lost = means[0], means[0] - means[1:]
    key = plan.key(lost)
    against: dict[str, dict[str, Effect]] = {}
    for family in plan.study.families:
        controls = plan.of_family(lost, family)
        against[family] = {name: effect_beside(float(key[i, i]), controls[:, i, i]) for i, name in enumerate(names)}
    return Reading(
        dict(zip(names, intact.tolist(), strict=True)),
        dict(zip(names, (intact - key.diagonal()).tolist(), strict=True)),
        against,
    )
