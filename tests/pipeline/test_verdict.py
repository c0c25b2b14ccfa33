"""The three questions of the verdict: levels, Holm's correction, missing controls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planting import KEY_SETS, SENTENCES, planted
from predicting import WORDS, control, evidence, right

from keyneurons.metrics import BEYOND_FORM, GRAMMAR, SPECIAL
from keyneurons.pipeline.controls.control import Case
from keyneurons.pipeline.verdict import Answer, judge

KEY = right(0.9, 1, 0)[0]
RANDOM = control("random", right(0.7, 99, 1))
VARIANCE = control("label_free", right(0.75, 1, 2))
FORM = control("form", right(0.6, 1, 3))
LABELS = control("labels", right(0.6, 3, 4), right(0.58, 27, 5).reshape(3, 9, WORDS))
EQUAL = control("labels", right(0.8, 3, 4), right(0.6, 27, 5).reshape(3, 9, WORDS))
LARGER = control("labels", right(0.98, 3, 4), right(0.5, 27, 5).reshape(3, 9, WORDS))
ALL = {"random": RANDOM, "variance": VARIANCE, "form": FORM, "labels": LABELS}


def answers(**changed) -> dict[str, Answer]:
    judged = judge(evidence(KEY, {name: each for name, each in {**ALL, **changed}.items() if each is not None}))
    assert judged is not None
    return {answer.metric: answer for answer in judged.answers}


def levels(**changed) -> dict[str, int]:
    return {metric: answer.level for metric, answer in answers(**changed).items()}


def test_key_neurons_ahead_of_every_control_get_every_answer() -> None:
    assert levels() == {SPECIAL: 2, BEYOND_FORM: 1, GRAMMAR: 1}


def test_neurons_chosen_without_tags_that_do_as_well_leave_the_first_level() -> None:
    assert levels(variance=control("label_free", right(0.9, 1, 2)))[SPECIAL] == 1


def test_random_sets_that_do_as_well_leave_no_level() -> None:
    assert levels(random=control("random", right(0.9, 99, 1))) == {SPECIAL: 0, BEYOND_FORM: 1, GRAMMAR: 0}


@pytest.mark.parametrize("weak", [FORM, control("form", right(0.2, 1, 8))])
def test_every_form_control_must_be_beaten(weak) -> None:
    assert levels(form=weak, other=control("form", right(0.9, 1, 9)))[BEYOND_FORM] == 0


def test_reselected_neurons_with_as_large_an_advantage_deny_grammar() -> None:
    assert levels(labels=EQUAL)[GRAMMAR] == 0


def test_an_advantage_on_known_types_only_denies_grammar() -> None:
    own = evidence(KEY, ALL)
    on_known = KEY & ~own.unseen | right(0.5, 1, 11)[0]
    as_random = np.where(own.unseen, RANDOM.correct[0], on_known)
    judged = judge(evidence(as_random, ALL))
    assert judged is not None
    assert {answer.metric: answer.level for answer in judged.answers}[GRAMMAR] == 0


@pytest.mark.parametrize(
    ("left_out", "metric", "role"),
    [
        ("random", SPECIAL, "random"),
        ("variance", SPECIAL, "label_free"),
        ("form", BEYOND_FORM, "form"),
        ("labels", GRAMMAR, "labels"),
    ],
)
def test_a_missing_control_is_named_and_never_counts_as_a_yes(left_out: str, metric: str, role: str) -> None:
    answer = answers(**{left_out: None})[metric]
    assert role in answer.missing
    assert answer.level == (1 if left_out == "variance" else 0)
    assert answer.asked == (left_out == "variance")


def test_specificity_without_random_sets_names_them() -> None:
    assert answers(random=None)[GRAMMAR].missing == ("random",)


def test_questions_not_asked_have_no_metrics() -> None:
    judged = judge(evidence(KEY, {"form": FORM}))
    assert judged is not None
    assert set(judged.metrics()) == {BEYOND_FORM, f"{BEYOND_FORM}_p_value"}


def test_the_correction_is_that_of_holm() -> None:
    """Adjusted p-values of Holm 1979 by the definition, from the uncorrected ones."""
    weak = control("form", right(0.88, 1, 12))
    asked = [answer for answer in answers(form=weak).values() if answer.asked]
    p_values = sorted(answer.p_value for answer in asked)
    expected = np.minimum(np.maximum.accumulate([p * (3 - i) for i, p in enumerate(p_values)]), 1)
    assert sorted(answer.p_adjusted for answer in asked) == pytest.approx(expected.tolist())


@pytest.mark.parametrize(("sets", "form", "level"), [(20, 0.9, 0), (59, 0.9, 1), (39, 0.6, 1), (20, 0.6, 0)])
def test_few_sets_reach_the_level_only_after_another_yes(sets: int, form: float, level: int) -> None:
    """p is at least 1 / (1 + sets); Holm's factor is 3, 2 after one other yes."""
    random = control("random", right(0.5, sets, 1))
    own = levels(random=random, variance=None, form=control("form", right(form, 1, 3)), labels=LARGER)
    assert own[SPECIAL] == level


def test_no_key_neurons_no_verdict() -> None:
    assert judge(replace(evidence(KEY, ALL), key_neurons=None)) is None


def test_unseen_words_are_those_whose_type_train_lacks() -> None:
    activations, labels = planted(0.0)
    test = labels.splits["test"]
    words = replace(test, forms=("New", "W1", "w2", *test.forms[3:]))
    labels = replace(labels, splits={**labels.splits, "test": words})
    case = Case(labels, activations, KEY_SETS, SENTENCES, 0)
    assert case.unseen.tolist() == [True, False, False, *[False] * 597]
