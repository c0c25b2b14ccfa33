"""``lesion.json``, ``lesion_effects.csv`` and their kin: what lesions did, beside every family of control sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from keyneurons.analysis.dissociation import Dissociation
from keyneurons.artifacts.tables import write_matrix, write_table
from keyneurons.atomic_files import write_json
from keyneurons.pipeline.lesions.results import LesionResult

EFFECTS = ("change", "control_mean", "control_std", "p_value", "effect_size")
READINGS = ("intact", "lesioned", "family", "control", "control_std", "p_value", "effect_size")


def write_lesions(folder: Path, found: LesionResult) -> None:
    """Write the matrices, a table of every tag against every family of controls, and all the rest as JSON."""
    write_matrix(folder / "lesion_change.csv", found.tags, found.change)
    for family, result in found.families.items():
        if result.dissociation is not None:
            write_matrix(folder / f"lesion_beyond_{family}.csv", found.tags, result.dissociation.beyond)
    write_table(folder / "lesion_effects.csv", ("tag", "family", *EFFECTS), list(_effect_rows(found)))
    write_json(folder / "lesion.json", _facts(found))
    if found.readouts:
        write_table(folder / "lesion_readings.csv", ("reading", "tag", *READINGS), list(_reading_rows(found)))
    if found.pairs is not None:
        write_json(folder / "lesion_pairs.json", asdict(found.pairs))


def _effect_rows(found: LesionResult) -> Iterator[list[object]]:
    for family, result in found.families.items():
        for tag, effect in result.effects.items():
            yield [tag, family, *(getattr(effect, name) for name in EFFECTS)]


def _reading_rows(found: LesionResult) -> Iterator[list[object]]:
    for name, reading in found.readouts.items():
        for family, effects in reading.families.items():
            for tag, effect in effects.items():
                control = reading.intact[tag] - effect.control_mean
                row: list[object] = [name, tag, reading.intact[tag], reading.lesioned[tag], family, control]
                yield [*row, effect.control_std, effect.p_value, effect.effect_size]


def _facts(found: LesionResult) -> dict[str, object]:
    return {
        "mode": found.study.lesion.mode,
        "tags": list(found.tags),
        "words": dict(found.words),
        "intact_bits": dict(found.intact),
        "intervals": {tag: list(interval) for tag, interval in found.intervals.items()},
        "doses": {str(share): dict(changes) for share, changes in found.doses.items()},
        "guard": dict(found.guard),
        "mismatch": {family: result.mismatch for family, result in found.families.items()},
        "dissociation": {
            family: _dissociation(result.dissociation)
            for family, result in found.families.items()
            if result.dissociation is not None
        },
    }


def _dissociation(double: Dissociation) -> dict[str, object]:
    return {
        "diagonal_advantage": double.diagonal_advantage,
        "p_value": double.p_value,
        "pairs": [asdict(pair) for pair in double.pairs],
    }
