"""Hypotheses in words: the predicted deficit of every tag, and notes on the whole table."""

from __future__ import annotations

import math
from collections.abc import Iterator

from keyneurons.artifacts.lesions import EstimateFacts
from keyneurons.report.hypotheses.records import Hypotheses, Hypothesis, LesionEffect, Study
from keyneurons.report.phrases import counted

LESIONS = {
    "zero": "With these neurons set to zero",
    "mean": "With these neurons set to their mean",
    "resample": "With these neurons set to their values on other words",
    "scale": "With these neurons multiplied by a factor",
    "keep_only": "With all other neurons of the layers set to zero",
    "tag_mean": "With these neurons set to their mean over words of the tag",
    "translate": "With these neurons shifted towards another tag",
}


def predicted_deficit(row: Hypothesis, study: Study | None) -> str:
    """The predicted deficit in a sentence; a null states the effect that would have been found."""
    if study is None or row.lesion is None:
        return ""
    if study.least_p_value > study.alpha:
        return (
            f"Not testable: with {study.most_sets} {study.family} sets, p is at least {study.least_p_value:.3f} "
            f"(lesion.sets and lesion.further_sets must add up to {needed_sets(study.alpha)})."
        )
    if row.lesion.p_value > study.alpha:
        return f"No deficit predicted: {_no_effect(row.tag, row.lesion, study)}"
    own = row.lesion.beyond.own
    if own.low <= 0:
        return (
            f"No deficit predicted: the change exceeds that of {study.family} sets (p = {row.lesion.p_value:.3f}), but "
            f"over other sentences it may be absent (95 % interval {span(own)})."
        )
    return " ".join([_deficit(row.tag, row.lesion, study), *_doubt(row.lesion, study)])


def notes(table: Hypotheses) -> Iterator[str]:
    """What the numbers of the table are, and what limits them."""
    if table.accuracy is not None:
        own, random = table.accuracy
        yield f"One probe of all tags on all key neurons: accuracy {own:.3f}; matched random neurons {random:.3f}."
    yield "F1: a probe of one tag on its own key neurons; p is adjusted over the tags (Benjamini-Hochberg)."
    if table.study is None:
        yield (
            "The run has no lesions (lesion=zero), so it predicts no deficit: a probe shows that a tag can be read "
            "from neurons, not that the model uses them."
        )
        return
    if table.given is not None:
        yield f"The lesions are of the neurons of {table.given}; F1 is that of the run's own key neurons."
    yield from _study_notes(table.study)
    yield (
        "These are predictions for a test on other text, from one run: repeat the lesion with dataset=... or "
        "lesion.split=dev before relying on them."
    )


def needed_sets(alpha: float, tests: int = 1) -> int:
    """Control sets that the smallest p-value needs to be significant among some tests."""
    return math.ceil(tests / alpha - 1e-9) - 1


def span(estimate: EstimateFacts) -> str:
    """An interval in words."""
    return f"{signed(estimate.low)} to {signed(estimate.high)}"


def signed(value: float) -> str:
    """A value with its sign; values that round to zero are positive."""
    return f"{round(value, 3) + 0.0:+.3f}"


def _no_effect(tag: str, effect: LesionEffect, study: Study) -> str:
    power = ""
    if effect.detectable is not None:
        found = f"{effect.detectable:.3f} bits per word beyond them"
        power = f" An increase above {found} would have been found with 80 % power."
    return f"no change of {tag} words beyond {study.family} sets detected (p = {effect.p_value:.3f}).{power}"


def _deficit(tag: str, effect: LesionEffect, study: Study) -> str:
    own, others, difference = effect.beyond.own, effect.beyond.others, effect.beyond.difference
    specific = (
        f"{tag} words are affected more"
        if difference.low > 0
        else f"the other words are affected more, so this is not a deficit of {tag}"
        if difference.high < 0
        else f"a deficit specific to {tag} is not detected"
    )
    return (
        f"{LESIONS.get(study.mode, study.mode)}, the surprisal of {tag} words rises by {own.value:.3f} bits per word "
        f"(95 % interval {span(own)}) beyond {study.family} sets, and that of {_others(study)} "
        f"{'rises' if others.value >= 0 else 'falls'} by {abs(others.value):.3f}: {specific} "
        f"(difference {signed(difference.value)}, {span(difference)})."
    )


def _others(study: Study) -> str:
    n = len(study.tags) - 1
    return "words of the other tag" if n == 1 else f"words of the other {n} tags"


def _doubt(effect: LesionEffect, study: Study) -> Iterator[str]:
    if effect.p_adjusted > study.alpha:
        yield f"Not significant after adjustment for {len(study.tags)} tags (p = {effect.p_adjusted:.3f})."


def _study_notes(study: Study) -> Iterator[str]:
    further = f"; p compares with up to {study.most_sets} sets" if study.most_sets > study.sets else ""
    yield (
        f"Effects are changes of the surprisal in bits per word, minus the mean change under {study.sets} "
        f"{study.family} sets of the same size{further} (one-sided; a sequential test, if sets were added)."
    )
    yield (
        f"Each of the {len(study.tags)} tags was tested alone: without any effect, "
        f"{len(study.tags) * study.alpha:.2g} of them are expected at p <= {study.alpha:g}. Adjusted p-values are "
        "Benjamini-Hochberg over the tags."
    )
    yield _diagonal(study)
    pairs = len(study.tags) * (len(study.tags) - 1) // 2
    if pairs / (1 + study.sets) > study.alpha:
        yield (
            f"With {study.sets} sets, no single double dissociation among {counted(pairs, 'pair')} of tags can be "
            f"significant: use lesion.sets={needed_sets(study.alpha, pairs)}."
        )


def _diagonal(study: Study) -> str:
    found, interval = study.diagonal, ""
    if found.interval is not None:
        low, high = found.interval
        interval = f", 95 % interval {low:+.4f} to {high:+.4f}"
    value = f"{found.diagonal_advantage:+.4f} bits per word{interval}, p = {found.p_value:.3f}"
    if found.p_value <= study.alpha:
        return f"Over all tags, lesions affect own words more than other words ({value})."
    power = "too few tags to detect any"
    if found.smallest_detectable is not None:
        power = f"one above {found.smallest_detectable:.4f} would have been found with 80 % power"
    return f"Over all tags, no difference between own words and other words was detected ({value}; {power})."
