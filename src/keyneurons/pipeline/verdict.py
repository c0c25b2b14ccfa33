"""The verdict of a run: three questions, answered by differences to controls.

*Special*: are the key neurons better than as many other neurons? *Beyond form*: do they tell more
than the form of the word alone? *Grammar*: do they tell more of these tags than reselected neurons
tell of labels without grammar, also for word types that train lacks?
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from keyneurons.analysis.sentence_bootstrap import Difference
from keyneurons.choices import ControlRole
from keyneurons.metrics import ALPHA, BEYOND_FORM, GRAMMAR, SPECIAL
from keyneurons.pipeline.evidence import ControlResult, Evidence

UNSEEN = "unseen word types"


@dataclass(frozen=True)
class Comparison:
    """One difference that a question depends on; ``against`` is the label of the control."""

    against: str
    difference: Difference

    def holds(self, factor: float = 1.0) -> bool:
        """Whether the difference is above 0: by its interval, and by its p-value times a factor."""
        return self.difference.low > 0 and self.difference.p_value * factor <= ALPHA


@dataclass(frozen=True)
class Answer:
    """The answer to a question of the verdict.

    A level is reached if all of its comparisons hold (an intersection-union test: its p-value is
    the largest). ``factor`` is that of Holm's correction over the questions asked. ``missing``
    names the roles of controls without which a higher level cannot be reached.
    """

    metric: str
    levels: tuple[tuple[Comparison, ...], ...]
    missing: tuple[ControlRole, ...] = ()
    factor: float = 1.0

    @property
    def asked(self) -> bool:
        """Whether there is a comparison for the first level."""
        return bool(self.levels) and bool(self.levels[0])

    @property
    def p_value(self) -> float:
        """p-value of the first level, before Holm's correction."""
        return max(each.difference.p_value for each in self.levels[0])

    @property
    def p_adjusted(self) -> float:
        """p-value of the first level after Holm's correction, at most 1."""
        return min(1.0, self.p_value * self.factor)

    @property
    def level(self) -> int:
        """Number of levels reached; each needs the previous one (a fixed-sequence test)."""
        reached = 0
        for comparisons in self.levels:
            if not comparisons or not all(each.holds(self.factor) for each in comparisons):
                break
            reached += 1
        return reached


@dataclass(frozen=True)
class Verdict:
    """The answers to the questions that could be asked."""

    answers: tuple[Answer, ...]

    def metrics(self) -> dict[str, float]:
        """The level of each answer and its adjusted p-value."""
        values: dict[str, float] = {}
        for answer in self.answers:
            if answer.asked:
                values[answer.metric] = float(answer.level)
                values[f"{answer.metric}_p_value"] = answer.p_adjusted
        return values


def judge(evidence: Evidence) -> Verdict | None:
    """Answer the three questions from the controls that were measured.

    Returns:
        The verdict; None without key neurons.
    """
    if evidence.key_neurons is None:
        return None
    random, label_free = _compared(evidence, "random"), _compared(evidence, "label_free")
    form, labels = _compared(evidence, "form"), _compared(evidence, "labels")
    unseen = [
        Comparison(UNSEEN, difference)
        for control in evidence.of_role("labels").values()
        if (difference := evidence.difference(control, evidence.unseen)) is not None
    ]
    grammar = (*labels, *unseen) if labels and unseen else ()
    reselected = labels or evidence.of_role("labels")  # measured, but not comparable without random sets
    return Verdict(
        _corrected([
            Answer(SPECIAL, (random, label_free), _missing(random=random, label_free=label_free)),
            Answer(BEYOND_FORM, (form,), _missing(form=form)),
            Answer(GRAMMAR, (grammar,), _missing(labels=reselected, random=random)),
        ])
    )


def _compared(evidence: Evidence, role: ControlRole) -> tuple[Comparison, ...]:
    controls: Mapping[str, ControlResult] = evidence.of_role(role)
    return tuple(
        Comparison(control.label, evidence.differences[name])
        for name, control in controls.items()
        if name in evidence.differences
    )


def _missing(**measured: Collection[object]) -> tuple[ControlRole, ...]:
    return tuple(role for role, some in measured.items() if not some)  # type: ignore[misc]


def _corrected(answers: Sequence[Answer]) -> tuple[Answer, ...]:
    """Set the factors of Holm's step-down correction over the questions asked (Holm 1979)."""
    asked = sorted((answer for answer in answers if answer.asked), key=lambda answer: answer.p_value)
    factors: dict[str, float] = {}
    highest = 0.0
    for rank, answer in enumerate(asked):
        highest = max(highest, answer.p_value * (len(asked) - rank))
        factors[answer.metric] = highest / answer.p_value
    return tuple(
        Answer(answer.metric, answer.levels, answer.missing, factors.get(answer.metric, 1.0)) for answer in answers
    )
