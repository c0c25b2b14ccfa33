"""The modes of lesions (ablations): what takes the place of the activations of key neurons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.lesion.conditions import Condition, Replacement


@dataclass(frozen=True)
class Known:
    """What a mode may use of the lesioned neurons of one layer.

    ``mean`` is over all train words, ``tag_mean`` over those of the tag whose set is lesioned, ``to_mean`` over those
    of the tag ``lesion.to``, where one is given; ``factor`` is ``lesion.factor``.
    """

    mean: Float[Tensor, " lesioned"]
    tag_mean: Float[Tensor, " lesioned"]
    to_mean: Float[Tensor, " lesioned"] | None
    factor: float


@dataclass(frozen=True)
class Mode:
    """A kind of lesion.

    ``replacement`` makes the function that changes activations. With ``others`` all other neurons of the layers are
    changed; with ``borrows`` it needs the activations of other words, with ``to`` another tag.
    """

    replacement: Callable[[Known], Replacement]
    others: bool = False
    borrows: bool = False
    to: bool = False


def silenced(values: Float[Tensor, "*words lesioned"], _: Tensor | None) -> Float[Tensor, "*words lesioned"]:
    """Zero."""
    return torch.zeros_like(values)


def borrowed(_: Tensor, lent: Float[Tensor, "*words lesioned"] | None) -> Float[Tensor, "*words lesioned"]:
    """What other words have there.

    Raises:
        ValueError: no other words are given.
    """
    if lent is None:
        raise ValueError("mode=resample needs the activations of other words, got none")
    return lent


def held_at(level: Float[Tensor, " lesioned"]) -> Replacement:
    """The same at every position."""
    return lambda values, _: level.to(values).expand_as(values)


def shifted_by(shift: Float[Tensor, " lesioned"]) -> Replacement:
    """The same distance from what was there."""
    return lambda values, _: values + shift.to(values)


def scaled_by(factor: float) -> Replacement:
    """A multiple of what was there."""
    return lambda values, _: values * factor


def translated(known: Known) -> Replacement:
    """From the mean of one tag to that of another (Antverg & Belinkov 2022).

    Raises:
        ValueError: there is no other tag.
    """
    if known.to_mean is None:
        raise ValueError("mode=translate needs another tag, got none")
    return shifted_by(known.to_mean - known.tag_mean)


MODES: Mapping[str, Mode] = {
    "zero": Mode(lambda _: silenced),
    "mean": Mode(lambda known: held_at(known.mean)),
    "tag_mean": Mode(lambda known: held_at(known.tag_mean)),
    "resample": Mode(lambda _: borrowed, borrows=True),
    "translate": Mode(translated, to=True),
    "keep_only": Mode(lambda _: silenced, others=True),
    "scale": Mode(lambda known: scaled_by(known.factor)),
}
"""By the name that ``lesion.mode`` takes."""


@dataclass(frozen=True)
class Means:
    """Mean activation of every neuron of the layers, side by side, over all train words and over those of each tag."""

    layers: tuple[int, ...]
    overall: Float[Tensor, " neurons"]
    of_tag: Float[Tensor, "tags neurons"]

    @property
    def width(self) -> int:
        """Neurons of a layer."""
        return len(self.overall) // len(self.layers)


@dataclass(frozen=True)
class Lesion:
    """Makes conditions of sets of neurons: ``mode`` is one of ``MODES``, ``factor`` and ``to`` are for some of them."""

    mode: str
    factor: float = 0.0
    to: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {self.mode!r}")
        if MODES[self.mode].to != (self.to is not None):
            modes = ", ".join(name for name, mode in MODES.items() if mode.to)
            raise ValueError(f"lesion.to names the tag of mode={modes}, got mode={self.mode} and to={self.to}")

    @property
    def borrows(self) -> bool:
        """Whether it needs the activations of other words, which differ from position to position."""
        return MODES[self.mode].borrows

    def condition(
        self, columns: Int[ndarray, " lesioned"] | Sequence[int], tag: int, names: Sequence[str], means: Means
    ) -> Condition:
        """The lesion of some neurons.

        Args:
            columns: their positions, the layers side by side.
            tag: the tag whose set they are, or are matched to.
            names: the tags.
            means: of all neurons.

        Returns:
            The condition.
        """
        to = None if self.to is None else means.of_tag[names.index(self.to)]
        neurons, change = {}, {}
        for layer, here in self._by_layer(columns, means).items():
            neurons[layer] = here % means.width
            known = Known(means.overall[here], means.of_tag[tag][here], None if to is None else to[here], self.factor)
            change[layer] = MODES[self.mode].replacement(known)
        return Condition(neurons, change)

    def _by_layer(
        self, columns: Int[ndarray, " lesioned"] | Sequence[int], means: Means
    ) -> dict[int, Int[Tensor, " _changed"]]:
        """The positions of the neurons that are changed, ascending, by layer."""
        chosen = torch.zeros(len(means.layers), means.width, dtype=torch.bool)
        chosen.view(-1)[torch.as_tensor(columns).long()] = True
        touched = chosen.any(dim=1)
        if MODES[self.mode].others:
            chosen = ~chosen
        return {
            layer: chosen[i].nonzero().squeeze(1) + i * means.width
            for i, layer in enumerate(means.layers)
            if touched[i]
        }
