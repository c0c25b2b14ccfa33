"""Modes of lesions (ablations): functions that replace the activations of lesioned neurons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.basis.basis import NEURONS, Basis
from keyneurons.lesion.conditions import Condition, Replacement


@dataclass(frozen=True)
class LesionInputs:
    """Inputs of a mode for the lesioned neurons of one layer.

    ``mean`` is over all train words, ``tag_mean`` over those of the tag whose set is lesioned,
    ``to_mean`` over those of the tag ``lesion.to``, if set; ``factor`` is ``lesion.factor``.
    """

    mean: Float[Tensor, " lesioned"]
    tag_mean: Float[Tensor, " lesioned"]
    to_mean: Float[Tensor, " lesioned"] | None
    factor: float


@dataclass(frozen=True)
class Mode:
    """A lesion mode.

    ``replacement`` returns the function that changes activations. ``others`` lesions all neurons of
    the layers except the set; ``needs_donors`` requires activations of donor words, ``to`` a second
    tag.
    """

    replacement: Callable[[LesionInputs], Replacement]
    others: bool = False
    needs_donors: bool = False
    to: bool = False


def silence(values: Float[Tensor, "*words lesioned"], _: Tensor | None) -> Float[Tensor, "*words lesioned"]:
    """Set activations to zero."""
    return torch.zeros_like(values)


def resample(_: Tensor, donated: Float[Tensor, "*words lesioned"] | None) -> Float[Tensor, "*words lesioned"]:
    """Replace activations by those of donor words.

    Raises:
        ValueError: there are no donor words.
    """
    if donated is None:
        raise ValueError("mode=resample needs the activations of other words, got none")
    return donated


def hold_at(level: Float[Tensor, " lesioned"]) -> Replacement:
    """Set activations to the same level at every position."""
    return lambda values, _: level.to(values).expand_as(values)


def shift_by(shift: Float[Tensor, " lesioned"]) -> Replacement:
    """Add the same shift at every position."""
    return lambda values, _: values + shift.to(values)


def scale_by(factor: float) -> Replacement:
    """Multiply activations by a factor."""
    return lambda values, _: values * factor


def scale_neurons(
    columns: Sequence[int], factor: float, layers: Sequence[int], width: int, basis: Basis = NEURONS
) -> Condition:
    """The condition that multiplies some neurons by a factor at every position.

    Args:
        columns: columns of the neurons, with layers concatenated.
        factor: the factor.
        layers: the layers.
        width: number of neurons of a layer.
        basis: what the neurons are units of.

    Returns:
        The condition.
    """
    by_layer: dict[int, list[int]] = {}
    for column in sorted(columns):
        by_layer.setdefault(layers[column // width], []).append(column % width)
    neurons = {layer: torch.tensor(own) for layer, own in by_layer.items()}
    return Condition(neurons, dict.fromkeys(neurons, scale_by(factor)), basis)


def translate(inputs: LesionInputs) -> Replacement:
    """Shift activations from the mean of one tag to that of another (Antverg & Belinkov 2022).

    Raises:
        ValueError: there is no second tag.
    """
    if inputs.to_mean is None:
        raise ValueError("mode=translate needs another tag, got none")
    return shift_by(inputs.to_mean - inputs.tag_mean)


MODES: Mapping[str, Mode] = {
    "zero": Mode(lambda _: silence),
    "mean": Mode(lambda inputs: hold_at(inputs.mean)),
    "tag_mean": Mode(lambda inputs: hold_at(inputs.tag_mean)),
    "resample": Mode(lambda _: resample, needs_donors=True),
    "translate": Mode(translate, to=True),
    "keep_only": Mode(lambda _: silence, others=True),
    "scale": Mode(lambda inputs: scale_by(inputs.factor)),
}
"""Modes by the value of ``lesion.mode``."""


@dataclass(frozen=True)
class Means:
    """Mean activations over all train words and over those of each tag; layers are concatenated."""

    layers: tuple[int, ...]
    overall: Float[Tensor, " neurons"]
    of_tag: Float[Tensor, "tags neurons"]

    @property
    def width(self) -> int:
        """Number of neurons of a layer."""
        return len(self.overall) // len(self.layers)


@dataclass(frozen=True)
class Lesion:
    """Turns sets of neurons into conditions; ``mode`` is a key of ``MODES``.

    ``factor`` and ``to`` are options of some modes; ``basis`` is that of the neurons.
    """

    mode: str
    factor: float = 0.0
    to: str | None = None
    basis: Basis = NEURONS

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {self.mode!r}")
        if MODES[self.mode].to != (self.to is not None):
            modes = ", ".join(name for name, mode in MODES.items() if mode.to)
            raise ValueError(
                f"lesion.to names the tag of mode={modes} and of no other mode, got mode={self.mode} and to={self.to}"
            )

    @property
    def needs_donors(self) -> bool:
        """Whether the mode needs activations of donor words, one for each position."""
        return MODES[self.mode].needs_donors

    def condition(
        self, columns: Int[ndarray, " lesioned"] | Sequence[int], tag: int, names: Sequence[str], means: Means
    ) -> Condition:
        """The condition that lesions some neurons.

        Args:
            columns: columns of the neurons, with layers concatenated.
            tag: index of the tag whose set they are, or are matched to.
            names: the tags.
            means: means of all neurons.

        Returns:
            The condition.
        """
        to = None if self.to is None else means.of_tag[names.index(self.to)]
        neurons, change = {}, {}
        for layer, here in self._by_layer(columns, means).items():
            neurons[layer] = here % means.width
            to_mean = None if to is None else to[here]
            inputs = LesionInputs(means.overall[here], means.of_tag[tag][here], to_mean, self.factor)
            change[layer] = MODES[self.mode].replacement(inputs)
        return Condition(neurons, change, self.basis)

    def _by_layer(
        self, columns: Int[ndarray, " lesioned"] | Sequence[int], means: Means
    ) -> dict[int, Int[Tensor, " _changed"]]:
        """Columns of the neurons to change, ascending, by layer."""
        mask = torch.zeros(len(means.layers), means.width, dtype=torch.bool)
        mask.view(-1)[torch.as_tensor(columns).long()] = True
        lesioned = mask.any(dim=1)
        if MODES[self.mode].others:
            mask = ~mask
        return {
            layer: mask[i].nonzero().squeeze(1) + i * means.width for i, layer in enumerate(means.layers) if lesioned[i]
        }
