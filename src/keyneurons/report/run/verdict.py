"""The verdict of a run in words: one line for each question, and one sentence for all."""

from __future__ import annotations

from collections.abc import Mapping

from keyneurons.analysis.sentence_bootstrap import Difference
from keyneurons.choices import ControlRole
from keyneurons.metrics import ALPHA, BEYOND_FORM, GRAMMAR, SPECIAL
from keyneurons.pipeline.evidence import Evidence
from keyneurons.pipeline.verdict import UNSEEN, Answer, Comparison, Verdict
from keyneurons.report.phrases import counted, listed

QUESTIONS = {
    SPECIAL: "special: better than as many other neurons?",
    BEYOND_FORM: "beyond the word form?",
    GRAMMAR: "grammar: more than labels without grammar, also on unseen word types?",
}
LEVELS = {SPECIAL: ("no", "1 of 2", "2 of 2"), BEYOND_FORM: ("no", "yes"), GRAMMAR: ("no", "yes")}
OPTIONS: Mapping[ControlRole, str] = {
    "random": "random",
    "label_free": "top_variance",
    "form": "word_form",
    "labels": "reselected_task",
}


def answer_rows(verdict: Verdict, evidence: Evidence) -> tuple[tuple[str, str, str, str], ...]:
    """Question, answer, p-value after Holm's correction, and reasons of every question."""
    rows = []
    for answer in verdict.answers:
        answered = LEVELS[answer.metric][answer.level] if answer.asked else "not tested"
        p_value = f"{answer.p_adjusted:.3f}" if answer.asked else "-"
        reasons = "; ".join([_reasons(answer), *_ways_to_more(answer, evidence)])
        rows.append((QUESTIONS[answer.metric], answered, p_value, reasons.strip("; ")))
    return tuple(rows)


def sentence(verdict: Verdict, n_key: int) -> str:
    """The three answers in one sentence."""
    parts = [_reasons(answer) for answer in verdict.answers if answer.asked]
    if not parts:
        return f"{counted(n_key, 'key neuron')}: no control answers a question of the verdict."
    return f"{counted(n_key, 'key neuron')}: {'; '.join(parts)}."


def figures(difference: Difference) -> str:
    """A difference with its interval: ``+0.117, 0.090 to 0.140``."""
    return f"{difference.value:+.3f}, {difference.low:.3f} to {difference.high:.3f}"


def _reasons(answer: Answer) -> str:
    if not answer.asked:
        return ""
    if answer.metric == SPECIAL:
        return _special(answer)
    weakest = min(answer.levels[0], key=lambda each: (each.holds(answer.factor), each.difference.low))
    if answer.metric == BEYOND_FORM:
        against = f"{figures(weakest.difference)}, against {weakest.against}"
        return f"beyond the word form ({against})" if answer.level else f"not beyond the word form ({against})"
    shown = ", ".join(
        f"{'on unseen word types' if each.against == UNSEEN else 'specificity'} {figures(each.difference)}"
        for each in answer.levels[0]
    )
    return f"grammar ({shown})" if answer.level else f"grammar not shown ({shown})"


def _special(answer: Answer) -> str:
    random, label_free = answer.levels
    if not answer.level:
        return f"not better than random neurons ({figures(_first_failing(random, answer).difference)})"
    said = f"better than random neurons ({figures(random[0].difference)})"
    if not label_free:
        return said
    if answer.level == 2:
        return f"{said} and than {listed_or_one([f'{c.against} ({figures(c.difference)})' for c in label_free])}"
    failing = _first_failing(label_free, answer)
    return f"{said}, not than {failing.against} ({figures(failing.difference)})"


def _first_failing(comparisons: tuple[Comparison, ...], answer: Answer) -> Comparison:
    return next(each for each in comparisons if not each.holds(answer.factor))


def listed_or_one(names: list[str]) -> str:
    """An enumeration of one or more names."""
    return names[0] if len(names) == 1 else listed(names)


def _ways_to_more(answer: Answer, evidence: Evidence) -> list[str]:
    """What is missing for a higher answer."""
    ways = []
    if not answer.asked and not answer.missing:
        ways.append("no test word has a type that train lacks")
    for role in answer.missing:
        name = OPTIONS[role]
        reason = evidence.skipped.get(name)
        ways.append(f"not measured: {reason}" if reason else f"needs control.{name}")
    for comparison in (each for some in answer.levels for each in some):
        draws = _draws(comparison, evidence)
        if draws and (least := answer.factor / (1 + draws)) > ALPHA and comparison.difference.low > 0:
            ways.append(f"with {draws} sets p cannot be below {least:.3f} after correction: draw more random sets")
    return ways


def _draws(comparison: Comparison, evidence: Evidence) -> int:
    """Number of random sets of a comparison with random sets; 0 for others."""
    return sum(len(c.correct) for c in evidence.of_role("random").values() if c.label == comparison.against)
