"""The hypotheses of a run, built from its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyneurons.analysis.multiple_tests import adjusted_p_values
from keyneurons.artifacts.key_neurons import basis_name
from keyneurons.artifacts.lesions import BeyondFacts, DissociationFacts, LesionFacts
from keyneurons.records import neuron_name
from keyneurons.report.phrases import describe_place


@dataclass(frozen=True)
class LesionEffect:
    """The effect of the lesion of a tag's key neurons, in bits per word.

    ``beyond`` is relative to the control sets that all tags have. ``p_value`` compares the change
    of the tag's own words with ``sets`` control sets, ``p_adjusted`` is adjusted over the tags.
    ``detectable`` is the excess that would have been found with 80 % power; None if no p-value
    could be significant.
    ``dissociated`` are the tags of its double dissociations; None if they are not testable.
    """

    words: int
    beyond: BeyondFacts
    p_value: float
    p_adjusted: float
    sets: int
    detectable: float | None
    dissociated: tuple[str, ...] | None


@dataclass(frozen=True)
class Hypothesis:
    """A tag, its key neurons and what they predict; values that the run did not measure are None.

    ``f1`` is that of a probe of the tag on its own key neurons, ``random_f1`` the mean over matched
    random sets; ``f1_p_adjusted`` compares the two, adjusted over the tags.
    """

    tag: str
    neurons: int
    strongest: str
    f1: float | None
    random_f1: float | None
    f1_p_adjusted: float | None
    lesion: LesionEffect | None


@dataclass(frozen=True)
class Study:
    """The lesions of a run: mode, first family of control sets, their numbers, test of all tags."""

    mode: str
    family: str
    tags: tuple[str, ...]
    sets: int
    most_sets: int
    alpha: float
    diagonal: DissociationFacts

    @property
    def least_p_value(self) -> float:
        """The smallest possible p-value of a tag."""
        return 1 / (1 + self.most_sets)


@dataclass(frozen=True)
class Hypotheses:
    """The hypotheses of a run with its name and settings; ``study`` is None without lesions.

    ``given`` names the neuron sets that were lesioned if they are not those of the run.
    """

    run: str
    settings: Mapping[str, str]
    accuracy: tuple[float, float] | None
    rows: tuple[Hypothesis, ...]
    study: Study | None
    given: str | None = None


def hypotheses_of(
    run: str, key: Mapping[str, Any], metrics: Mapping[str, float], lesions: LesionFacts | None, alpha: float
) -> Hypotheses:
    """Build the hypotheses of a run.

    Args:
        run: name of the run.
        key: its ``key_neurons.json``.
        metrics: its ``metrics.json``.
        lesions: its ``lesion.json``; None if the run has no lesions.
        alpha: its significance level.

    Raises:
        ValueError: the files do not belong together.
    """
    study = None if lesions is None else _study(lesions, alpha)
    effects = {} if lesions is None or study is None else _effects(lesions, study, metrics)
    if unknown := [tag for tag in effects if tag not in key["tags"]]:
        raise ValueError(f"lesion.json has the tag {unknown[0]!r}; key_neurons.json has {', '.join(key['tags'])}")
    rows = tuple(
        Hypothesis(
            tag,
            len(own),
            neuron_name(key["site"], own[0]["layer"], own[0]["neuron"], basis_name(key)) if own else "",
            metrics.get(f"per_tag/f1/{tag}"),
            metrics.get(f"per_tag/random_f1/{tag}"),
            metrics.get(f"per_tag/p_adjusted/{tag}"),
            effects.get(tag),
        )
        for tag, own in key["tags"].items()
    )
    measured = [metrics[name] for name in ("probe/test_accuracy", "control/random/test_accuracy") if name in metrics]
    accuracy = (measured[0], measured[1]) if len(measured) == 2 else None
    return Hypotheses(run, _settings(key), accuracy, rows, study)


def _settings(key: Mapping[str, Any]) -> dict[str, str]:
    method = str(key["method"]) + (f" ({key['source']['method']})" if "source" in key else "")
    return {
        "model": f"{key['model']['id']} ({key['model']['revision']})",
        "text": f"{key['dataset']['id']}, tags from {key['tag_column']}",
        "neurons": f"{describe_place(key['site'], key['layers'], basis_name(key))}, selected by {method}",
    }


def _study(lesions: LesionFacts, alpha: float) -> Study:
    family = next(iter(lesions.dissociation))  # the first family is that of the verdict
    n = lesions.sets
    return Study(
        lesions.mode, family, tuple(lesions.tags), n.sets, n.sets + n.further_sets, alpha, lesions.dissociation[family]
    )


def _effects(lesions: LesionFacts, study: Study, metrics: Mapping[str, float]) -> dict[str, LesionEffect]:
    def metric(name: str, tag: str) -> float:
        return _required(metrics, f"lesion/{study.mode}/{study.family}/{name}/{tag}")

    testable = 1 / (1 + study.sets) <= study.alpha
    adjusted = adjusted_p_values({tag: metric("p_value", tag) for tag in study.tags})
    beyond = lesions.beyond.get(study.family, {})
    if missing := [tag for tag in study.tags if tag not in beyond or tag not in lesions.words]:
        raise ValueError(f"lesion.json has no effects of {missing[0]}")
    return {
        tag: LesionEffect(
            lesions.words[tag],
            beyond[tag],
            metric("p_value", tag),
            adjusted[tag],
            int(metric("sets", tag)),
            metrics.get(f"lesion/{study.mode}/{study.family}/detectable/{tag}"),
            _partners(study.diagonal, tag) if testable else None,
        )
        for tag in study.tags
    }


def _required(metrics: Mapping[str, float], name: str) -> float:
    if name not in metrics:
        raise ValueError(f"metrics.json has no {name}, which lesion.json calls for")
    return metrics[name]


def _partners(diagonal: DissociationFacts, tag: str) -> tuple[str, ...]:
    """The tags that dissociate doubly from a tag."""
    return tuple(other for pair in diagonal.pairs if tag in pair.tags for other in pair.tags if other != tag)
