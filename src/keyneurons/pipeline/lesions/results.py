"""Effects of lesions on surprisal and other readouts, with their controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from keyneurons.analysis.dissociation import Dissociation, dissociation
from keyneurons.analysis.effects import Effect, bootstrap_interval, mean_changes
from keyneurons.analysis.effects import effect as effect_beside
from keyneurons.analysis.lesion_intervals import Beyond, advantage_interval, beyond_controls
from keyneurons.pipeline.lesions.generated import Generated
from keyneurons.pipeline.lesions.measuring import Measurement
from keyneurons.pipeline.lesions.pairs import Pairs
from keyneurons.pipeline.lesions.plan import LesionStudy, Plan
from keyneurons.pipeline.lesions.words import MeasuredWords


@dataclass(frozen=True)
class FamilyEffects:
    """Effects relative to one family of control sets: by tag, the dissociation, the mismatch.

    ``interval`` is that of the diagonal advantage. ``beyond`` has the effects on own and other
    words, by lesioned tag, relative to the sets that all tags have.
    """

    effects: Mapping[str, Effect]
    dissociation: Dissociation | None = None
    interval: tuple[float, float] | None = None
    mismatch: float | None = None
    beyond: Mapping[str, Beyond] = field(default_factory=dict)

    def metrics(self, prefix: str) -> dict[str, float]:
        """Change, p-value, sets, effect size and detectable effect by tag, and the dissociation."""
        values = {}
        for tag, effect in self.effects.items():
            values[f"{prefix}/change/{tag}"] = effect.control_mean
            values[f"{prefix}/p_value/{tag}"] = effect.p_value
            values[f"{prefix}/sets/{tag}"] = float(effect.sets)
            if effect.effect_size is not None:
                values[f"{prefix}/effect_size/{tag}"] = effect.effect_size
            if effect.detectable is not None:
                values[f"{prefix}/detectable/{tag}"] = effect.detectable
        if self.dissociation is not None:
            values[f"{prefix}/double_dissociations"] = float(len(self.dissociation.pairs))
        return values | self.diagonal_metrics(prefix)

    def diagonal_metrics(self, prefix: str) -> dict[str, float]:
        """The diagonal advantage with its interval, p-values and smallest detectable effect."""
        if (double := self.dissociation) is None:
            return {}
        values = {
            f"{prefix}/diagonal_advantage": double.diagonal_advantage,
            f"{prefix}/diagonal_p_value": double.p_value,
            f"{prefix}/additive_p_value": double.additive_p_value,
            f"{prefix}/multiplicative_p_value": double.multiplicative_p_value,
        }
        if self.interval is not None:
            low, high = self.interval
            values |= {f"{prefix}/diagonal_advantage_low": low, f"{prefix}/diagonal_advantage_high": high}
        if double.smallest_detectable is not None:
            values[f"{prefix}/smallest_detectable"] = double.smallest_detectable
        return values


@dataclass(frozen=True)
class ReadoutResult:
    """A readout averaged over each tag's own words; harmful lesions lower it.

    ``intact`` and ``lesioned`` are the means of the intact model and under the lesion of the tag's
    set. ``families`` has the effects on the loss relative to each family of control sets.
    """

    intact: Mapping[str, float]
    lesioned: Mapping[str, float]
    families: Mapping[str, Mapping[str, Effect]]

    def metrics(self, prefix: str, name: str) -> dict[str, float]:
        """The readout by tag: intact, under its lesion, under control sets."""
        values = {f"lesion/intact/{name}/{tag}": value for tag, value in self.intact.items()}
        values |= {f"{prefix}/{name}/{tag}": value for tag, value in self.lesioned.items()}
        for family, effects in self.families.items():
            for tag, effect in effects.items():
                values[f"{prefix}/{family}/{name}/{tag}"] = self.intact[tag] - effect.control_mean
                values[f"{prefix}/{family}/{name}_p_value/{tag}"] = effect.p_value
        return values


@dataclass(frozen=True)
class LesionResult:
    """Changes of surprisal under lesions, in bits per word; positive changes are harmful.

    ``change`` is ``[lesioned tag, measured tag]``; ``intervals`` are confidence intervals of its
    diagonal. ``doses`` has the changes of every tag's own words by share of the set. ``guard`` has,
    by lesioned tag, the change of words of no tag under study. ``families`` has the effects
    relative to each family of control sets, ``readouts`` the other readouts by name. ``without``
    lists the tags without key neurons, ``omitted`` those that were not chosen.
    """

    study: LesionStudy
    tags: tuple[str, ...]
    words: Mapping[str, int]
    intact: Mapping[str, float]
    change: Float[ndarray, "tags tags"]
    intervals: Mapping[str, tuple[float, float]]
    doses: Mapping[float, Mapping[str, float]]
    guard: Mapping[str, float]
    families: Mapping[str, FamilyEffects]
    readouts: Mapping[str, ReadoutResult]
    pairs: Pairs | None = None
    generated: Generated | None = None
    without: tuple[str, ...] = ()
    omitted: tuple[str, ...] = ()

    def metrics(self) -> dict[str, float]:
        """Changes under the lesion of each tag's set and of its controls, and the dissociations."""
        prefix, first = f"lesion/{self.study.lesion.mode}", self.study.families[0]
        values = {f"{prefix}/change/{tag}": float(self.change[i, i]) for i, tag in enumerate(self.tags)}
        values |= {f"{prefix}/intact_bits/{tag}": self.intact[tag] for tag in self.tags}
        values |= {f"{prefix}/guard/{tag}": self.guard[tag] for tag in self.tags if tag in self.guard}
        for family, effects in self.families.items():
            values |= effects.metrics(f"{prefix}/{family}")
        for name, readout in self.readouts.items():
            values |= readout.metrics(prefix, name)
        if self.generated is not None:
            values |= self.generated.metrics(prefix, first)
        if self.pairs is not None:
            values |= self.pairs.metrics(self.study.lesion.mode, first)
        return values | self.families[first].diagonal_metrics("lesion")


def lesion_result(
    plan: Plan,
    measured: MeasuredWords,
    measurement: Measurement,
    mismatches: Mapping[str, float | None],
    seed: int,
) -> LesionResult:
    """Compare the values under all conditions.

    The matrix, its tests and the other readouts use the control sets that all tags have. The change
    of a tag's own words is also compared with the further sets, whose number depends on the result.

    Args:
        plan: The conditions.
        measured: The measured words.
        measurement: Their bits and other readouts, and changes under further control sets.
        mismatches: Distance of the sets of each family from the key neurons.
        seed: Seed of bootstraps and permutations.

    Returns:
        The effects with their controls.
    """
    study, names, n = plan.study, plan.names, len(plan.names)
    studied, values = measured.studied, measurement.values
    bits = values["bits"]
    tags, sentences = measured.tags[studied], measured.words.sentence[studied]
    changes = bits[1:, studied] - bits[0, studied]
    means = mean_changes(changes, tags, n)
    key = plan.of_key_neurons(means)
    families: dict[str, FamilyEffects] = {}
    for family in study.families:
        controls = plan.of_family(means, family)
        of_words = plan.of_key_neurons(changes), plan.of_family(changes, family), tags, sentences
        families[family] = FamilyEffects(
            {
                name: effect_beside(
                    float(key[i, i]),
                    np.concatenate([controls[:, i, i], measurement.further[family][i]]),
                    study.alpha,
                    study.stopping,
                )
                for i, name in enumerate(names)
            },
            dissociation(key, controls, names, permutations=study.permutations, alpha=study.alpha, seed=seed),
            advantage_interval(*of_words, draws=study.bootstraps, seed=seed),
            mismatches[family],
            dict(zip(names, beyond_controls(*of_words, draws=study.bootstraps, seed=seed), strict=True)),
        )
    if n > 2:
        others = {name: np.delete(key[:, i], i) for i, name in enumerate(names)}
        families["other_tags"] = FamilyEffects({
            name: effect_beside(float(key[i, i]), others[name], study.alpha) for i, name in enumerate(names)
        })
    doses = {1.0: key, **dict(zip(study.doses, plan.of_doses(means), strict=True))}
    intervals = {
        name: bootstrap_interval(changes[i, tags == i], sentences[tags == i], draws=study.bootstraps, seed=seed)
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
        families,
        {name: _readout_result(plan, measured, rows[:, studied]) for name, rows in values.items() if name != "bits"},
    )


def _readout_result(plan: Plan, measured: MeasuredWords, values: Float[ndarray, "passes studied"]) -> ReadoutResult:
    names, tags = plan.names, measured.tags[measured.studied]
    means = mean_changes(values, tags, len(names))
    intact, lost = means[0], means[0] - means[1:]
    key = plan.of_key_neurons(lost)
    families: dict[str, dict[str, Effect]] = {}
    for family in plan.study.families:
        controls = plan.of_family(lost, family)
        families[family] = {
            name: effect_beside(float(key[i, i]), controls[:, i, i], plan.study.alpha) for i, name in enumerate(names)
        }
    return ReadoutResult(
        dict(zip(names, intact.tolist(), strict=True)),
        dict(zip(names, (intact - key.diagonal()).tolist(), strict=True)),
        families,
    )
