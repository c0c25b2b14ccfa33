"""``lesion.json``, ``lesion_effects.csv`` and related files: lesion effects with their controls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from keyneurons.analysis.dissociation import Dissociation
from keyneurons.artifacts.plain import Strict, read_json, validate
from keyneurons.artifacts.tables import write_matrix, write_table
from keyneurons.atomic_files import write_json
from keyneurons.pipeline.lesions.pairs import Pairs
from keyneurons.pipeline.lesions.results import LesionResult

LESION_FILE = "lesion.json"
EFFECTS = ("change", "control_mean", "control_std", "p_value", "sets", "effect_size", "detectable")
PAIRS = (
    "language", "phenomenon", "pairs", "tag", "intact", "lesioned", "family", "control_mean", "control_std", "p_value",
)  # fmt: skip
READINGS = ("intact", "lesioned", "family", "control", "control_std", "p_value", "effect_size")

Interval = Annotated[list[float], Field(min_length=2, max_length=2)]
Probability = Annotated[float, Field(ge=0, le=1)]


class EstimateFacts(Strict):
    """A value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class BeyondFacts(Strict):
    """Effects of a lesion beyond its control sets, as in ``analysis.lesion_intervals.Beyond``."""

    own: EstimateFacts
    others: EstimateFacts
    difference: EstimateFacts


class PairFacts(Strict):
    """A double dissociation."""

    tags: Annotated[list[str], Field(min_length=2, max_length=2)]
    contrast: float
    p_value: Probability


class DissociationFacts(Strict):
    """The tests of the diagonal advantage and the double dissociations."""

    diagonal_advantage: float
    interval: Interval | None
    p_value: Probability
    additive_p_value: Probability
    multiplicative_p_value: Probability
    smallest_detectable: float | None
    pairs: list[PairFacts]


class SetsFacts(Strict):
    """The numbers of control sets."""

    sets: PositiveInt
    further_sets: NonNegativeInt
    exceedances: PositiveInt


class LesionFacts(Strict):
    """The whole ``lesion.json``; mappings are by tag, or by family of control sets."""

    mode: str
    tags: Annotated[list[str], Field(min_length=2)]
    not_lesioned: list[str]
    sets: SetsFacts
    words: Mapping[str, PositiveInt]
    intact_bits: Mapping[str, float]
    intervals: Mapping[str, Interval]
    doses: Mapping[str, Mapping[str, float]]
    guard: Mapping[str, float]
    mismatch: Mapping[str, float | None]
    beyond: Annotated[Mapping[str, Mapping[str, BeyondFacts]], Field(min_length=1)]
    dissociation: Annotated[Mapping[str, DissociationFacts], Field(min_length=1)]


def read_lesions(path: Path) -> LesionFacts:
    """Read a ``lesion.json``.

    Raises:
        ValueError: the file is damaged or of another version.
    """
    return validate(LesionFacts, read_json(path), path)


def write_lesions(folder: Path, result: LesionResult) -> None:
    """Write the matrices, a table of tags by control families, and the other results as JSON."""
    write_matrix(folder / "lesion_change.csv", result.tags, result.change)
    for family, effects in result.families.items():
        if effects.dissociation is not None:
            write_matrix(folder / f"lesion_beyond_{family}.csv", result.tags, effects.dissociation.beyond)
    write_table(folder / "lesion_effects.csv", ("tag", "family", *EFFECTS), list(_effect_rows(result)))
    write_json(folder / LESION_FILE, _facts(result))
    if result.readouts:
        write_table(folder / "lesion_readings.csv", ("reading", "tag", *READINGS), list(_reading_rows(result)))
    if result.pairs is not None:
        write_json(folder / "lesion_pairs.json", asdict(result.pairs))
        write_table(folder / "lesion_pairs.csv", PAIRS, list(_pair_rows(result, result.pairs)))


def _effect_rows(result: LesionResult) -> Iterator[list[object]]:
    for family, effects in result.families.items():
        for tag, effect in effects.effects.items():
            yield [tag, family, *(getattr(effect, name) for name in EFFECTS)]


def _pair_rows(result: LesionResult, pairs: Pairs) -> Iterator[list[object]]:
    """All pairs first, then each language and phenomenon."""
    family = result.study.families[0]
    for group in (pairs.every, *pairs.groups):
        for tag, effect in group.effects.items():
            row: list[object] = [group.language, group.phenomenon, group.pairs, tag, group.intact, effect.lesioned]
            yield [*row, family, effect.control_mean, effect.control_std, effect.p_value]


def _reading_rows(result: LesionResult) -> Iterator[list[object]]:
    for name, reading in result.readouts.items():
        for family, effects in reading.families.items():
            for tag, effect in effects.items():
                control = reading.intact[tag] - effect.control_mean
                row: list[object] = [name, tag, reading.intact[tag], reading.lesioned[tag], family, control]
                yield [*row, effect.control_std, effect.p_value, effect.effect_size]


def _facts(result: LesionResult) -> dict[str, object]:
    return {
        "mode": result.study.lesion.mode,
        "tags": list(result.tags),
        "not_lesioned": [*result.without, *result.omitted],
        "sets": {name: getattr(result.study, name) for name in ("sets", "further_sets", "exceedances")},
        "words": dict(result.words),
        "intact_bits": dict(result.intact),
        "intervals": {tag: list(interval) for tag, interval in result.intervals.items()},
        "doses": {str(share): dict(changes) for share, changes in result.doses.items()},
        "guard": dict(result.guard),
        "mismatch": {family: effects.mismatch for family, effects in result.families.items()},
        "beyond": {
            family: {tag: asdict(beyond) for tag, beyond in effects.beyond.items()}
            for family, effects in result.families.items()
            if effects.beyond
        },
        "dissociation": {
            family: _dissociation(effects.dissociation, effects.interval)
            for family, effects in result.families.items()
            if effects.dissociation is not None
        },
    }


def _dissociation(double: Dissociation, interval: tuple[float, float] | None) -> dict[str, object]:
    return {
        "diagonal_advantage": double.diagonal_advantage,
        "interval": None if interval is None else list(interval),
        "p_value": double.p_value,
        "additive_p_value": double.additive_p_value,
        "multiplicative_p_value": double.multiplicative_p_value,
        "smallest_detectable": double.smallest_detectable,
        "pairs": [asdict(pair) for pair in double.pairs],
    }
