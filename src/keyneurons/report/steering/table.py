"""The table of a steering on the console, and what can be read from it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keyneurons.analysis.sentence_bootstrap import Estimate
from keyneurons.analysis.steering import Beside
from keyneurons.metrics import ALPHA
from keyneurons.pipeline.steering.measures import BITS, DISTANCE, DRIFT
from keyneurons.pipeline.steering.study import PERPLEXITY, SteeringResult, perplexity
from keyneurons.report.phrases import counted
from keyneurons.report.run.console import show_wide
from keyneurons.report.steering.measures import LABELS

HEAD = ("measure", "factor", "key neurons", "control sets", "difference (95 % interval)", "p")


def show_steering(result: SteeringResult, console: Console) -> None:
    """Print settings, the table and notes."""
    study, generation = result.study, result.study.generation
    texts = counted(len(generation.prompts), "prompt") + f" x {counted(generation.samples, 'seed')}"
    neurons = counted(result.neurons, "key neuron")
    console.print(Text(f"Steering {study.tag}: {neurons}, {texts}", style="bold"), soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in HEAD:
        table.add_column(Text(name), justify="left" if name == "measure" else "right", no_wrap=True)
    for row in _rows(result):
        table.add_row(*map(Text, row))
    show_wide(table, console)
    console.print()
    for note in notes(result):
        console.print(Text(note), soft_wrap=True)


def notes(result: SteeringResult) -> Iterator[str]:
    """Settings and limits that the table needs."""
    study = result.study
    sets, least = study.sets, 1 / (1 + study.sets)
    yield f"control sets: {sets} of family {study.family}, of equal size in each layer; factor 1 is the intact model"
    yield "the difference of perplexity is in bits per token: 1 bit doubles it"
    if least > ALPHA:
        yield f"with {sets} sets, p is at least {least:.3f}, so nothing can be significant at {ALPHA:g}: use --sets 19"
    else:
        yield "p-values are two-sided and not corrected for the number of measures and factors"
    if result.between:
        distance, drift = result.between[DISTANCE], result.between[DRIFT]
        yield f"two intact texts of a prompt with different seeds: distance {distance:.3f}, drift {drift:.3f}"


def _rows(result: SteeringResult) -> Iterator[tuple[str, ...]]:
    for name in result.intact:
        for factor, measures in result.doses.items():
            yield _row(name, factor, measures[name])


def _row(name: str, factor: float, beside: Beside) -> tuple[str, ...]:
    key, sets, difference = beside.key, beside.sets, beside.difference
    shown = name
    if name == BITS:
        shown, key, sets = PERPLEXITY, perplexity(key), perplexity(sets)
    decimals = 1 if shown == PERPLEXITY else 3
    value, low, high = (f"{round(each, 3) + 0.0:+.3f}" for each in (difference.value, difference.low, difference.high))
    change = f"{value} ({low} to {high})"  # without -0
    return LABELS[shown], f"{factor:g}", _span(key, decimals), _span(sets, decimals), change, f"{beside.p_value:.3f}"


def _span(estimate: Estimate, decimals: int) -> str:
    value, low, high = (f"{each:.{decimals}f}" for each in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low} to {high})"
