"""Steering: key neurons of a tag, and control sets, multiplied by several factors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from keyneurons.activations.reader import ActivationReader
from keyneurons.analysis.sentence_bootstrap import Estimate
from keyneurons.analysis.steering import Beside, Sums, beside_sets
from keyneurons.data.minimal_pairs import MinimalPair
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.generation import Generation, NonFiniteLogits
from keyneurons.lesion.modes import scale_neurons
from keyneurons.lesion.pairs import pair_margins
from keyneurons.lesion.surprisal import Surprisal
from keyneurons.pipeline.lesions.measuring import Steps
from keyneurons.pipeline.steering.measures import BITS, INTACT, PAIRS, between_samples, measures_of
from keyneurons.pipeline.steering.taggers import Tagger
from keyneurons.pipeline.steering.texts import Texts, generate
from keyneurons.progress import stage

LARGEST_FACTOR = 1e6
PERPLEXITY = "perplexity"


@dataclass(frozen=True)
class SteeringStudy:
    """The settings of a steering.

    At every token, the key neurons of ``tag`` are multiplied by each of ``factors``, and so are
    ``sets`` control sets of ``family``, while the model continues prompts and judges minimal pairs.
    """

    tag: str
    factors: tuple[float, ...]
    family: str
    sets: int
    generation: Generation
    pairs: tuple[MinimalPair, ...]
    bootstraps: int
    seed: int

    def __post_init__(self) -> None:
        for factor in self.factors:
            if not (math.isfinite(factor) and abs(factor) <= LARGEST_FACTOR):
                limit = f"{LARGEST_FACTOR:,.0f}"
                raise ValueError(f"factors must be numbers from -{limit} to {limit}, got {factor:g}")
        if not self.factors or len(set(map(step_of, self.factors))) < len(self.factors):
            listed = ", ".join(f"{factor:g}" for factor in self.factors) or "none"
            raise ValueError(f"factors must differ by at least 0.001, got {listed}")
        if self.sets < 2:
            raise ValueError(f"--sets must be at least 2, for intervals, got {self.sets}")


@dataclass(frozen=True)
class SteeringResult:
    """Measures by factor and name, beside control sets, and those of the intact model.

    ``between`` has the mean distance and drift between two intact texts of a prompt with different
    seeds, if there are several. ``rows`` are the conditions of ``texts`` by factor: the key
    neurons, then the control sets.
    """

    study: SteeringStudy
    neurons: int
    intact: Mapping[str, Estimate]
    doses: Mapping[float, Mapping[str, Beside]]
    between: Mapping[str, float]
    texts: Texts
    rows: Mapping[float, tuple[int, ...]]

    def curves(self) -> dict[str, dict[int, float]]:
        """Metrics by ``step_of`` the factor."""
        curves: dict[str, dict[int, float]] = {}
        for factor, measures in self.doses.items():
            for name, value in self._metrics(factor, measures).items():
                curves.setdefault(name, {})[step_of(factor)] = value
        return curves

    def _metrics(self, factor: float, measures: Mapping[str, Beside]) -> dict[str, float]:
        prefix, family = f"steer/{self.study.tag}", self.study.family
        values = {f"{prefix}/factor": factor}
        for name, beside in measures.items():
            values |= beside.key.metrics(f"{prefix}/{name}")
            values |= beside.sets.metrics(f"{prefix}/{family}/{name}")
            values |= beside.difference.metrics(f"{prefix}/{name}_difference")
            values[f"{prefix}/{name}_p_value"] = beside.p_value
        values |= perplexity(measures[BITS].key).metrics(f"{prefix}/{PERPLEXITY}")
        return values | perplexity(measures[BITS].sets).metrics(f"{prefix}/{family}/{PERPLEXITY}")


def step_of(factor: float) -> int:
    """The factor in thousandths: MLflow's steps are whole numbers."""
    return round(1000 * factor)


def perplexity(bits: Estimate) -> Estimate:
    """2 to the power of the bits of a token."""
    return Estimate(2**bits.value, 2**bits.low, 2**bits.high)


def steer(
    study: SteeringStudy,
    read: ActivationReader,
    columns: Sequence[int],
    controls: Int[ndarray, "sets key"],
    taggers: Mapping[str, Tagger],
) -> SteeringResult:
    """Generate and measure texts, and judge minimal pairs, under every factor.

    A factor of 1 is the intact model itself.

    Args:
        study: the settings.
        read: reader of the model.
        columns: the key neurons, as positions in the concatenated layers of the reader.
        controls: the control sets.
        taggers: taggers by the name of the share.

    Returns:
        The measures.

    Raises:
        ValueError: a prompt is too long, or a factor makes logits that are not finite.
    """
    conditions, rows = _conditions(study, read, columns, controls)
    try:
        texts = generate(read, study.generation, conditions)
    except NonFiniteLogits as error:
        number = next(i for i, condition in enumerate(conditions) if condition is error.condition)
        if number == INTACT:
            raise ValueError("the logits of the intact model are not finite") from error
        factor = next(factor for factor, own in rows.items() if number in own)
        raise ValueError(f"factor {factor:g} makes logits that are not finite; use a smaller one") from error
    correct = None if not study.pairs else _judge(study, read, conditions)
    options = {"draws": study.bootstraps, "seed": study.seed}

    def measured(own: Sequence[int]) -> dict[str, Sums]:
        sums = measures_of(texts, own, study.tag, taggers)
        return sums if correct is None else sums | {PAIRS: Sums(correct[list(own)], np.ones_like(correct[list(own)]))}

    return SteeringResult(
        study,
        len(columns),
        {name: sums.estimates(**options)[0] for name, sums in measured([INTACT]).items()},
        {
            factor: {name: beside_sets(sums, **options) for name, sums in measured(own).items()}
            for factor, own in rows.items()
        },
        between_samples(texts),
        texts,
        rows,
    )


def _conditions(
    study: SteeringStudy, read: ActivationReader, columns: Sequence[int], controls: Int[ndarray, "sets key"]
) -> tuple[list[Condition], dict[float, tuple[int, ...]]]:
    """All conditions, intact first, and those of each factor."""
    conditions, rows = [Condition({}, {})], {}
    layers, width = read.layers, read.units
    for factor in study.factors:
        if factor == 1:
            rows[factor] = (INTACT,) * (1 + len(controls))
            continue
        rows[factor] = tuple(range(len(conditions), len(conditions) + 1 + len(controls)))
        conditions += [scale_neurons(own, factor, layers, width, read.basis) for own in (columns, *controls.tolist())]
    return conditions, rows


def _judge(study: SteeringStudy, read: ActivationReader, conditions: Sequence[Condition]) -> ndarray:
    """Whether each pair is judged correctly under each condition.

    Raises:
        ValueError: a surprisal is not finite.
    """
    surprisal = Surprisal(read.model, read.site, max(1, read.batch_tokens // 4), 4 * read.batch_tokens)
    with stage("minimal pairs", total=len(conditions), unit="conditions") as progress:
        margins = pair_margins(surprisal, read, study.pairs, conditions, Steps(progress))
    if not np.isfinite(margins).all():
        raise ValueError("a factor makes surprisals that are not finite; use smaller factors")
    correct: ndarray = (margins > 0).astype(np.float64)
    return correct
