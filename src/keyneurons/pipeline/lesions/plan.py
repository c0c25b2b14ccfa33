"""What is lesioned, and all that is done to the model for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.choices import LesionPlace
from keyneurons.data.minimal_pairs import MinimalPair
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.generation import Generation
from keyneurons.lesion.modes import Lesion, Means
from keyneurons.records import NeuronSets, Split


@dataclass(frozen=True)
class LesionStudy:
    """What is lesioned how, and against what it is held.

    ``where`` is everywhere, or only where words of the lesioned tag are predicted; ``shares`` are doses, each the share
    of a tag's strongest key neurons; each of ``families`` gives ``sets`` control sets for every tag. Measured are the
    first ``sentences`` of ``split``. In ``later_layers`` a probe reads the tags out of the residual stream; with
    ``tag_mass`` the probability of all tokens that begin words of the right tag is measured too. ``neurons`` takes the
    place of the run's own sets; ``pairs`` are minimal pairs to judge, ``generation`` texts to continue.
    """

    lesion: Lesion
    where: LesionPlace
    shares: tuple[float, ...]
    families: tuple[str, ...]
    sets: int
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
    pairs: tuple[MinimalPair, ...] = ()
    generation: Generation | None = None

    def check_tags(self, names: Sequence[str]) -> None:
        """Refuse a translation to a tag that is none of these.

        Raises:
            ValueError: it is.
        """
        if self.lesion.to is not None and self.lesion.to not in names:
            raise ValueError(f"lesion.to must be one of {', '.join(names)}, got {self.lesion.to}")

    @property
    def doses(self) -> tuple[float, ...]:
        """The shares below the whole set."""
        return tuple(share for share in self.shares if share < 1)


@dataclass(frozen=True)
class Plan:
    """The conditions of a study, in order: the lesion of each tag's set, its doses, its control sets.

    ``tag`` says whose set each of them is, or is matched to.
    """

    study: LesionStudy
    names: tuple[str, ...]
    conditions: tuple[Condition, ...]
    tag: Int[ndarray, " conditions"]

    @classmethod
    def of(
        cls,
        study: LesionStudy,
        names: tuple[str, ...],
        columns: Mapping[str, Int[ndarray, " _key"]],
        drawn: Mapping[str, Mapping[str, Int[ndarray, "sets _key"]]],
        means: Means,
    ) -> Plan:
        """Make conditions of key neurons, the strongest first, and of the control sets of every family."""
        keys = [(i, columns[tag]) for i, tag in enumerate(names)]
        doses = [(i, own[: max(1, round(share * len(own)))]) for share in study.doses for i, own in keys]
        controls = [(i, own) for family in drawn.values() for i, tag in enumerate(names) for own in family[tag]]
        chosen = [*keys, *doses, *controls]
        conditions = tuple(study.lesion.condition(own, i, names, means) for i, own in chosen)
        return cls(study, names, conditions, np.array([i for i, _ in chosen]))

    @property
    def keys(self) -> tuple[Condition, ...]:
        """The lesions of the tags' whole sets."""
        return self.conditions[: len(self.names)]

    @property
    def controls(self) -> tuple[Condition, ...]:
        """The control sets of the first family, tag by tag."""
        first = (1 + len(self.study.doses)) * len(self.names)
        return self.conditions[first : first + len(self.names) * self.study.sets]

    def key(self, values: Float[ndarray, "conditions ..."]) -> Float[ndarray, "tags ..."]:
        """Of what was measured under all conditions that under the lesions of the whole sets."""
        return values[: len(self.names)]

    def of_doses(self, values: Float[ndarray, "conditions ..."]) -> Sequence[Float[ndarray, "tags ..."]]:
        """That under the smaller doses, in their order."""
        n = len(self.names)
        return [values[(1 + d) * n : (2 + d) * n] for d in range(len(self.study.doses))]

    def of_family(self, values: Float[ndarray, "conditions ..."], family: str) -> Float[ndarray, "sets tags ..."]:
        """That under the control sets of a family."""
        n, sets = len(self.names), self.study.sets
        first = (1 + len(self.study.doses)) * n + self.study.families.index(family) * n * sets
        return values[first : first + n * sets].reshape(n, sets, *values.shape[1:]).swapaxes(0, 1)
