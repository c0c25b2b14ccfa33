"""The settings of a lesion study and the conditions that it measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.analysis.sequential import Stopping
from keyneurons.choices import LesionPlace
from keyneurons.data.minimal_pairs import MinimalPair
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.generation import Generation
from keyneurons.lesion.modes import Lesion, Means
from keyneurons.metric_names import check_name, metric_name
from keyneurons.records import NeuronSets, Split


@dataclass(frozen=True)
class LesionStudy:
    """The settings of a lesion study.

    ``tags`` are the tags to lesion: their number, names, or all. ``where`` is everywhere, or only
    where words of the lesioned tag are predicted. ``shares`` are doses: shares of a tag's strongest
    key neurons. Each of ``families`` has ``sets`` control sets for every tag, measured on the words
    of all tags, and up to ``further_sets`` that are measured on the tag's own words until
    ``exceedances`` sets hurt them as much as the key neurons do. The study measures the first
    ``sentences`` of ``split``. In ``later_layers``, a probe predicts the tags from the residual
    stream. With ``tag_mass``, the probability of all tokens that begin words of the correct tag is
    measured. ``neurons`` replace the run's own sets; ``neurons_revision`` is their revision of the
    model, if it is not the lesioned one. ``pairs`` are minimal pairs to judge, ``generation`` has
    prompts to continue.
    """

    lesion: Lesion
    tags: int | tuple[str, ...] | Literal["all"]
    where: LesionPlace
    shares: tuple[float, ...]
    families: tuple[str, ...]
    sets: int
    further_sets: int
    exceedances: int
    split: Split
    sentences: int
    bootstraps: int
    permutations: int
    alpha: float
    batch_tokens: int
    pass_tokens: int
    later_layers: tuple[int, ...] = ()
    tag_mass: bool = False
    neurons: NeuronSets | None = None
    neurons_revision: str | None = None
    pairs: tuple[MinimalPair, ...] = ()
    generation: Generation | None = None

    def check_tags(self, names: Sequence[str]) -> None:
        """Check that the tags to lesion and the target of a translation are among the tags.

        Raises:
            ValueError: One is not, or a tag is too long for the metrics of minimal pairs.
        """
        listed = self.tags if isinstance(self.tags, tuple) else ()
        for key, tag in [("to", self.lesion.to), *(("tags", tag) for tag in listed)]:
            if tag is not None and tag not in names:
                raise ValueError(f"lesion.{key} must be one of {', '.join(names)}, got {tag}")
        for language, phenomenon in sorted({(pair.language, pair.phenomenon) for pair in self.pairs}):
            prefix = f"lesion/pairs/{self.lesion.mode}/{self.families[0]}/p_value"
            check_name(metric_name(f"{prefix}/{max(names, key=len)}/{language}-{phenomenon}"))

    def chosen_tags(self, counts: Mapping[str, int]) -> tuple[str, ...]:
        """The tags to lesion, given the number of measured words of each possible tag.

        A number takes the tags with the most words, ties in the order given, and always the target
        of a translation.
        """
        if self.tags == "all":
            return tuple(counts)
        if isinstance(self.tags, tuple):
            return tuple(tag for tag in counts if tag in self.tags or tag == self.lesion.to)
        ranked = sorted(counts, key=lambda tag: (tag != self.lesion.to, -counts[tag]))
        return tuple(tag for tag in counts if tag in ranked[: self.tags])

    @property
    def stopping(self) -> Stopping | None:
        """The sequential test of a tag; None if its control sets are fixed."""
        return Stopping(self.exceedances, self.sets + self.further_sets) if self.further_sets else None

    @property
    def least_p_value(self) -> float:
        """The smallest possible p-value of a tag."""
        return 1 / (1 + self.sets + self.further_sets)

    @property
    def doses(self) -> tuple[float, ...]:
        """The shares smaller than the whole set."""
        return tuple(share for share in self.shares if share < 1)


@dataclass(frozen=True)
class Plan:
    """The conditions of a study in order: lesions of each tag's set, doses, control sets.

    ``tag`` is the index of the tag that a condition belongs to. ``further`` has, by family and tag,
    the control sets that are measured only as long as they are needed.
    """

    study: LesionStudy
    names: tuple[str, ...]
    conditions: tuple[Condition, ...]
    tag: Int[ndarray, " conditions"]
    further: Mapping[str, tuple[tuple[Condition, ...], ...]]

    @classmethod
    def of(
        cls,
        study: LesionStudy,
        names: tuple[str, ...],
        columns: Mapping[str, Int[ndarray, " _key"]],
        drawn: Mapping[str, Mapping[str, Int[ndarray, "sets _key"]]],
        means: Means,
    ) -> Plan:
        """Build the conditions from the key neurons, strongest first, and the control sets."""

        def lesion(own: Int[ndarray, " _key"], tag: int) -> Condition:
            return study.lesion.condition(own, tag, names, means)

        whole = [(i, columns[tag]) for i, tag in enumerate(names)]
        doses = [(i, own[: max(1, round(share * len(own)))]) for share in study.doses for i, own in whole]
        controls = [
            (i, own) for family in drawn.values() for i, tag in enumerate(names) for own in family[tag][: study.sets]
        ]
        further = {
            family: tuple(tuple(lesion(own, i) for own in sets[tag][study.sets :]) for i, tag in enumerate(names))
            for family, sets in drawn.items()
        }
        chosen = [*whole, *doses, *controls]
        tags = np.array([i for i, _ in chosen])
        return cls(study, names, tuple(lesion(own, i) for i, own in chosen), tags, further)

    @property
    def key_lesions(self) -> tuple[Condition, ...]:
        """The lesions of the whole sets of the tags."""
        return self.conditions[: len(self.names)]

    @property
    def control_lesions(self) -> tuple[Condition, ...]:
        """The lesions of the control sets of the first family, tag by tag."""
        first = (1 + len(self.study.doses)) * len(self.names)
        return self.conditions[first : first + len(self.names) * self.study.sets]

    def of_key_neurons(self, values: Float[ndarray, "conditions ..."]) -> Float[ndarray, "tags ..."]:
        """Select the values under the lesions of the whole sets from those under all conditions."""
        return values[: len(self.names)]

    def of_doses(self, values: Float[ndarray, "conditions ..."]) -> Sequence[Float[ndarray, "tags ..."]]:
        """Select the values under the smaller doses, in their order."""
        n = len(self.names)
        return [values[(1 + d) * n : (2 + d) * n] for d in range(len(self.study.doses))]

    def of_family(self, values: Float[ndarray, "conditions ..."], family: str) -> Float[ndarray, "sets tags ..."]:
        """Select the values under the control sets of a family."""
        n, sets = len(self.names), self.study.sets
        first = (1 + len(self.study.doses)) * n + self.study.families.index(family) * n * sets
        return values[first : first + n * sets].reshape(n, sets, *values.shape[1:]).swapaxes(0, 1)
