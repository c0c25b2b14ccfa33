"""Predicted deficits: what is claimed for each kind of result."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keyneurons.artifacts.lesions import BeyondFacts, DissociationFacts, EstimateFacts, PairFacts
from keyneurons.report.hypotheses.predictions import needed_sets, notes, predicted_deficit
from keyneurons.report.hypotheses.records import Hypotheses, Hypothesis, LesionEffect, Study, hypotheses_of
from keyneurons.report.hypotheses.tables import markdown

DIAGONAL = DissociationFacts(
    diagonal_advantage=0.05,
    interval=[0.01, 0.09],
    p_value=0.2,
    additive_p_value=0.1,
    multiplicative_p_value=0.2,
    smallest_detectable=0.08,
    pairs=[PairFacts(tags=["DET", "NOUN"], contrast=0.3, p_value=0.01)],
)
STUDY = Study("zero", "random", ("DET", "NOUN", "VERB", "PRON"), 5, 20, 0.05, DIAGONAL)


def estimate(value: float, low: float, high: float) -> EstimateFacts:
    return EstimateFacts(value=value, low=low, high=high)


def row(
    own: tuple[float, float, float] = (0.134, 0.06, 0.21),
    difference: tuple[float, float, float] = (0.1, 0.05, 0.15),
    p_value: float = 0.048,
    p_adjusted: float = 0.05,
    detectable: float | None = 0.021,
) -> Hypothesis:
    others = estimate(own[0] - difference[0], -1, 1)
    beyond = BeyondFacts(own=estimate(*own), others=others, difference=estimate(*difference))
    effect = LesionEffect(136, beyond, p_value, p_adjusted, 20, detectable, ())
    return Hypothesis("DET", 10, "mlp.8.1055", 0.548, 0.036, 0.05, effect)


def test_an_effect_is_a_deficit_with_its_size_and_that_of_other_words() -> None:
    assert predicted_deficit(row(), STUDY) == (
        "With these neurons set to zero, the surprisal of DET words rises by 0.134 bits per word (95 % interval +0.060 "
        "to +0.210) beyond random sets, and that of words of the other 3 tags rises by 0.034: DET words are affected "
        "more (difference +0.100, +0.050 to +0.150)."
    )


@pytest.mark.parametrize(
    ("difference", "claim"),
    [
        ((0.03, -0.01, 0.07), "a deficit specific to DET is not detected"),
        ((-0.05, -0.09, -0.01), "the other words are affected more, so this is not a deficit of DET"),
    ],
    ids=["unspecific", "reversed"],
)
def test_an_effect_on_other_words_is_no_specific_deficit(difference: tuple[float, float, float], claim: str) -> None:
    assert claim in predicted_deficit(row(difference=difference), STUDY)


def test_an_effect_that_does_not_survive_adjustment_says_so() -> None:
    said = predicted_deficit(row(p_adjusted=0.095), STUDY)
    assert said.endswith("Not significant after adjustment for 4 tags (p = 0.095).")


def test_a_null_states_the_effect_that_would_have_been_found() -> None:
    said = predicted_deficit(row(p_value=0.333), STUDY)
    assert said == (
        "No deficit predicted: no change of DET words beyond random sets detected (p = 0.333). An increase above 0.021 "
        "bits per word beyond them would have been found with 80 % power."
    )
    assert "power" not in predicted_deficit(row(p_value=0.333, detectable=None), STUDY)


def test_an_effect_that_other_sentences_may_lack_is_no_prediction() -> None:
    said = predicted_deficit(row(own=(0.03, -0.01, 0.07)), STUDY)
    assert said.startswith("No deficit predicted: the change exceeds that of random sets (p = 0.048), but over other")


def test_too_few_sets_test_nothing() -> None:
    few = replace(STUDY, most_sets=5)
    assert predicted_deficit(row(), few) == (
        "Not testable: with 5 random sets, p is at least 0.167 (lesion.sets and lesion.further_sets must add up to 19)."
    )
    assert predicted_deficit(replace(row(), lesion=None), STUDY) == ""
    assert predicted_deficit(row(), None) == ""


@pytest.mark.parametrize(("tests", "sets"), [(1, 19), (6, 119), (15, 299)])
def test_the_smallest_p_value_of_the_needed_sets_is_significant(tests: int, sets: int) -> None:
    assert needed_sets(0.05, tests) == sets
    assert tests / (1 + sets) <= 0.05 < tests / sets


def test_notes_name_the_null_over_all_tags_and_neurons_of_another_run() -> None:
    table = Hypotheses("a run", {}, (0.913, 0.794), (row(),), STUDY, given="other/key_neurons.json")
    text = " ".join(notes(table))
    assert "accuracy 0.913; matched random neurons 0.794" in text
    assert "The lesions are of the neurons of other/key_neurons.json" in text
    assert "no difference between own words and other words was detected (+0.0500 bits per word" in text
    assert "one above 0.0800 would have been found with 80 % power" in text
    assert "0.2 of them are expected at p <= 0.05" in text
    found = replace(table, study=replace(STUDY, diagonal=DIAGONAL.model_copy(update={"p_value": 0.01})))
    assert "lesions affect own words more than other words" in " ".join(notes(found))


def test_names_are_shown_literally() -> None:
    table = Hypotheses("<b>run</b> | a", {"text": "*x*"}, None, (replace(row(), tag="A|B"),), STUDY)
    text = markdown(table)
    assert "<b>" not in text
    assert "A|B" not in text


def test_units_are_named_after_their_basis() -> None:
    key = {
        "model": {"id": "m", "revision": "r"},
        "dataset": {"id": "d"},
        "tag_column": "upos",
        "site": "residual",
        "layers": [8],
        "method": "correlation",
        "basis": {"name": "sae", "digest": "1"},
        "tags": {"DET": [{"layer": 8, "neuron": 5, "score": 0.5}]},
    }
    found = hypotheses_of("run", key, {}, None, 0.05)
    assert [row.strongest for row in found.rows] == ["residual.8.sae.5"]
    assert found.settings["neurons"] == "residual, layer 8 in the basis sae, selected by correlation"
