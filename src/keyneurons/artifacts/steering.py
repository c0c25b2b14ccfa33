"""``steering.json``, ``steering.csv`` and ``steering_texts.csv``: measures by factor, and texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt

from keyneurons.analysis.sentence_bootstrap import Estimate
from keyneurons.artifacts.lesions import EstimateFacts
from keyneurons.artifacts.plain import Strict, Versioned, read_json, validate
from keyneurons.artifacts.tables import write_table
from keyneurons.atomic_files import write_json
from keyneurons.lesion.reading import embedding_layer
from keyneurons.models.language_model import LanguageModel
from keyneurons.pipeline.steering.measures import INTACT
from keyneurons.pipeline.steering.study import SteeringResult

STEERING_FILE, STEERING_TABLE, STEERING_TEXTS = "steering.json", "steering.csv", "steering_texts.csv"
FORMAT = 1
ESTIMATES = ("key", "sets", "difference")
COLUMNS = (
    "measure", "factor", "intact", *(f"{name}{end}" for name in ESTIMATES for end in ("", "_low", "_high")), "p_value",
)  # fmt: skip

Name = Annotated[str, Field(min_length=1)]
Measures = Annotated[Mapping[Name, EstimateFacts], Field(min_length=1)]


class BesideFacts(Strict):
    """A measure at one factor, as in ``analysis.steering.Beside``."""

    key: EstimateFacts
    sets: EstimateFacts
    difference: EstimateFacts
    p_value: Annotated[float, Field(ge=0, le=1)]
    of_sets: Annotated[list[float], Field(min_length=2)]


class DoseFacts(Strict):
    """The measures at one factor."""

    factor: float
    measures: Annotated[Mapping[Name, BesideFacts], Field(min_length=1)]


class SteeringFacts(Versioned):
    """The whole ``steering.json``.

    ``embedding`` says where the states of ``drift`` are read; ``between`` has the distances of
    intact texts with different seeds.
    """

    supported = FORMAT
    run: Name
    model: Mapping[str, Any]
    tag: Name
    site: Name
    neurons: PositiveInt
    family: Name
    sets: Annotated[int, Field(ge=2)]
    prompts: Annotated[list[Name], Field(min_length=2)]
    samples: PositiveInt
    new_tokens: PositiveInt
    temperature: Annotated[float, Field(ge=0)]
    seed: NonNegativeInt
    embedding: Name
    pairs: NonNegativeInt
    intact: Measures
    doses: Annotated[list[DoseFacts], Field(min_length=1)]
    between: Mapping[Name, float]


def read_steering(path: Path) -> SteeringFacts:
    """Read a ``steering.json``.

    Raises:
        ValueError: the file is damaged or of another version.
    """
    return validate(SteeringFacts, read_json(path), path)


def write_steering(
    folder: Path, result: SteeringResult, run: str, key_neurons: Mapping[str, Any], model: LanguageModel
) -> None:
    """Write the three files.

    Args:
        folder: the folder.
        result: the steering.
        run: name and id of the run.
        key_neurons: contents of its ``key_neurons.json``.
        model: its model.
    """
    study, generation = result.study, result.study.generation
    facts = {
        "format": FORMAT,
        "run": run,
        "model": key_neurons["model"],
        "tag": study.tag,
        "site": key_neurons["site"],
        "neurons": result.neurons,
        "family": study.family,
        "sets": study.sets,
        "prompts": list(generation.prompts),
        "samples": generation.samples,
        **asdict(generation.sampling),
        "seed": generation.seed,
        "embedding": f"residual.{embedding_layer(model)}",
        "pairs": len(study.pairs),
        "intact": {name: asdict(estimate) for name, estimate in result.intact.items()},
        "doses": [
            {"factor": factor, "measures": {name: asdict(beside) for name, beside in measures.items()}}
            for factor, measures in result.doses.items()
        ],
        "between": dict(result.between),
    }
    write_json(folder / STEERING_FILE, facts)
    write_table(folder / STEERING_TABLE, COLUMNS, list(_rows(result)))
    write_table(folder / STEERING_TEXTS, ("prompt", "sample", "factor", "neurons", "text"), list(_texts(result)))


def _rows(result: SteeringResult) -> Iterator[list[object]]:
    for name, intact in result.intact.items():
        for factor, measures in result.doses.items():
            beside = measures[name]
            estimates: list[Estimate] = [getattr(beside, each) for each in ESTIMATES]
            ends = [value for each in estimates for value in (each.value, each.low, each.high)]
            yield [name, factor, intact.value, *ends, beside.p_value]


def _texts(result: SteeringResult) -> Iterator[list[object]]:
    """All texts; the neurons are ``intact``, ``key``, or ``set 1``, ``set 2``, ...."""
    texts, samples = result.texts, result.study.generation.samples
    for i, prompt in enumerate(texts.prompts):
        yield [prompt, i % samples, 1.0, "intact", texts.texts[INTACT][i]]
        for factor, rows in result.rows.items():
            if factor != 1:
                for number, row in enumerate(rows):
                    yield [prompt, i % samples, factor, f"set {number}" if number else "key", texts.texts[row][i]]
