"""The work of a planned run after the forward passes, with its time."""

from __future__ import annotations

from keyneurons.build.selection import Method
from keyneurons.config import schema
from keyneurons.plan.probes import EPOCHS, RunSizes, measure_probes, planned_probes
from keyneurons.plan.report import format_time
from keyneurons.plan.scoring import measure_scoring, scorings


def work_after_passes(config: schema.Config, method: Method, sizes: RunSizes, train_words: int) -> tuple[str, str]:
    """Scoring and probes in one line each, timed by short trials on this machine."""
    return _scoring(config, method, sizes, train_words), _probes(config, sizes, train_words)


def _scoring(config: schema.Config, method: Method, sizes: RunSizes, words: int) -> str:
    number = scorings(config, method)
    text = f"scoring: {number:,} x {words:,} words x {sizes.neurons:,} neurons"
    if (per_value := measure_scoring(config, method, sizes.tags)) is None:
        return f"{text}; time not measured"
    return f"{text}, about {format_time(number * per_value * words * sizes.neurons)}"


def _probes(config: schema.Config, sizes: RunSizes, words: int) -> str:
    probes = planned_probes(config, sizes)
    seconds = measure_probes(config, sizes).seconds(probes, words)
    largest = sorted(probes, key=lambda each: -each.number)[:3]
    most = ", ".join(f"{each.number:,} of {each.neurons:,} neurons for {each.purpose}" for each in largest)
    return (
        f"probes: at most {sum(each.number for each in probes):,} ({most}, ...), about {format_time(seconds)} at "
        f"{EPOCHS} epochs; results in the cache are not computed again"
    )
