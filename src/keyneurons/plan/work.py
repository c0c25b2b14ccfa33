"""The work of a planned run after the forward passes, with its time."""

from __future__ import annotations

from keyneurons.build.selection import Method
from keyneurons.config import schema
from keyneurons.plan.probes import EPOCHS, RunSizes, measure_probes, planned_probes
from keyneurons.plan.report import format_time
from keyneurons.plan.scoring import measure_scoring, scorings

UNTIMED = "; time not measured"


def work_after_passes(
    config: schema.Config, method: Method, sizes: RunSizes, train_words: int, *, timed: bool
) -> tuple[str, str]:
    """Scoring and probes in one line each; ``timed`` by short trials on this machine."""
    return _scoring(config, method, sizes, train_words, timed), _probes(config, sizes, train_words, timed)


def _scoring(config: schema.Config, method: Method, sizes: RunSizes, words: int, timed: bool) -> str:
    number = scorings(config, method)
    per_value = measure_scoring(config, method, sizes.tags) if timed else None
    time = UNTIMED if per_value is None else f", about {format_time(number * per_value * words * sizes.neurons)}"
    return f"scoring: {number:,} x {words:,} words x {sizes.neurons:,} neurons{time}"


def _probes(config: schema.Config, sizes: RunSizes, words: int, timed: bool) -> str:
    probes = planned_probes(config, sizes)
    speed = measure_probes(config, sizes) if timed else None
    time = UNTIMED if speed is None else f", about {format_time(speed.seconds(probes, words))} at {EPOCHS} epochs"
    largest = sorted(probes, key=lambda each: -each.number)[:3]
    most = ", ".join(f"{each.number:,} of {each.neurons:,} neurons for {each.purpose}" for each in largest)
    return (
        f"probes: at most {sum(each.number for each in probes):,} ({most}, ...){time}; "
        "results in the cache are not computed again"
    )
