"""Phrases of reports: counted nouns, enumerations, layers."""

from __future__ import annotations

from collections.abc import Sequence

CONTROLLED_FOR = (
    "word length in tokens, log frequency, capitals, position in the sentence, sentence length "
    "and neighbouring punctuation are controlled for"
)
"""The confounds of ``data.word_features``, in words."""


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 key neuron``, ``2 key neurons``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """An enumeration: ``a, b and c``."""
    return f"{', '.join(names[:-1])} and {names[-1]}"


def describe_layers(layers: Sequence[int]) -> str:
    """Short description of layers: ``layer 8``, or their number if more than eight."""
    return f"layer {', '.join(map(str, layers))}" if len(layers) <= 8 else f"{len(layers)} layers"


def describe_place(site: str, layers: Sequence[int], basis: str = "neurons") -> str:
    """Where neurons are, and of which basis they are units unless they are neurons."""
    return f"{site}, {describe_layers(layers)}" + ("" if basis == "neurons" else f" in the basis {basis}")


def by_chance(expected: float) -> str:
    """Format an expected number of neurons."""
    if 0 < expected < 0.01:
        return "< 0.01"
    return f"{expected:.0f}" if expected >= 100 else f"{expected:.2f}"
