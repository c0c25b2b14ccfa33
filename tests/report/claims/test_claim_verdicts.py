"""Verdicts on claims from runs made by hand, and the files of the page."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest

from keyneurons.analysis.claims import expected_union
from keyneurons.artifacts.lesions import BeyondFacts, DissociationFacts, EstimateFacts
from keyneurons.metrics import ACCURACY, DEV_ACCURACY, MEAN_COEFFICIENT, RANDOM, UNION_SHARE, high, low
from keyneurons.records import KeyNeuron, NeuronSets
from keyneurons.report.claims.judging import judge
from keyneurons.report.claims.literature import CLAIMS
from keyneurons.report.claims.page import claims_markdown, write_claims
from keyneurons.report.claims.records import ClaimPage, MeasuredRun
from keyneurons.report.hypotheses.records import Hypotheses, Hypothesis, LesionEffect, Study

NOTHING = EstimateFacts(value=0.0, low=-0.1, high=0.1)
BEYOND = BeyondFacts(own=NOTHING, others=NOTHING, difference=NOTHING)
DIAGONAL = DissociationFacts(
    diagonal_advantage=0.0,
    interval=None,
    p_value=0.5,
    additive_p_value=0.5,
    multiplicative_p_value=0.5,
    smallest_detectable=None,
    pairs=[],
)
TAGS = ("ADJ", "DET", "NOUN", "PRON")


def run(name="run", *, layer=4, layers=(4,), site="residual", top_k=10, first=0, step=0, metrics=None, **key):
    """A run whose tags have ``top_k`` neurons each, from ``first`` on, shifted by ``step``."""
    tags = {
        tag: tuple(KeyNeuron(layers[-1], first + i * step + j, 1.0) for j in range(top_k)) for i, tag in enumerate(TAGS)
    }
    sets = NeuronSets(site, tuple(layers), 100, tags)
    file = {"method": "correlation", "scope": "layer", "read_at": "word", "top_k": top_k, **key}
    values = {UNION_SHARE: len(sets.union()) / 100 / len(layers), MEAN_COEFFICIENT: 1.0, ACCURACY: 0.9}
    values |= {low(ACCURACY): 0.88, high(ACCURACY): 0.92, DEV_ACCURACY: 0.9, RANDOM: 0.8}
    return MeasuredRun(name, file, sets, values | (metrics or {}), layer)


def verdict(claim, *runs):
    return judge(runs)[list(CLAIMS).index(claim)]


def test_without_runs_nothing_can_be_told():
    rows = judge([])
    assert [each.claim for each in rows] == list(CLAIMS.values())
    assert {each.verdict for each in rows} == {"cannot be told"}
    assert all(each.reason == f"needs a run of this model and treebank, such as {each.claim.command}" for each in rows)


def test_a_union_beside_that_of_random_sets():
    apart = run(step=10)  # 40 of 100; 4 random sets of 10 have 100 (1 - .9^4) = 34.39
    judged = verdict("union", apart)
    assert (judged.verdict, judged.measured) == ("holds", "40.0% of 100 neurons (10 per tag)")
    assert judged.control == "random sets: 34.4% expected"
    assert "says nothing about grammar" in judged.reason
    assert expected_union(apart.sets) == pytest.approx(34.39)
    same = verdict("union", run(step=0))  # 10 of 100
    assert (same.verdict, same.measured) == ("does not hold", "10.0% of 100 neurons (10 per tag)")
    mixed = verdict("union", apart, run(step=0, layers=(9,)))
    assert (mixed.verdict, mixed.measured[:14]) == ("cannot be told", "10.0% to 40.0%")
    assert mixed.reason.startswith("in the range in 1 of 2 layers (4)")


def test_an_accuracy_is_read_in_the_layer_that_is_best_on_dev():
    worse = run("a", layers=(9,), metrics={DEV_ACCURACY: 0.8, ACCURACY: 0.99, low(ACCURACY): 0.98, high(ACCURACY): 1})
    judged = verdict("accuracy", worse, run("b", metrics={RANDOM: 0.86}))
    assert (judged.verdict, judged.runs) == ("holds", ("b",))
    assert judged.measured == "0.900 (0.880 to 0.920), layer 4, the best of 2 on dev"
    assert (judged.control, judged.reason) == ("random neurons 0.860", "also above 0.85: random neurons")
    below = verdict("accuracy", run(metrics={low(ACCURACY): 0.8, high(ACCURACY): 0.84}))
    assert (below.verdict, below.reason) == ("does not hold", "no control is above 0.85")


@pytest.mark.parametrize(("value", "expected"), [(0.3, "holds"), (0.05, "does not hold")])
def test_an_overlap(value, expected):
    judged = verdict("overlap", run(metrics={MEAN_COEFFICIENT: value}))
    assert (judged.verdict, judged.control) == (expected, "random sets: 10.0% expected")


def test_runs_of_other_places_do_not_count():
    others = [run(site="mlp"), run(read_at="prediction"), run(layers=(3, 4)), run(attribution={}, method="relp")]
    assert {verdict(name, *others).verdict for name in ("union", "accuracy", "overlap")} == {"cannot be told"}


def test_the_place_of_neurons_in_the_model():
    whole = {"layer": "all", "layers": range(9), "site": "mlp", "scope": "model", "step": 10}
    late = verdict("layers", run(**whole))  # 40 neurons in layer 8
    assert late.verdict == "holds"
    assert late.measured == "100.0% of 40 mlp neurons are in layers 3 to 8"
    assert late.control == "66.7% of all neurons are"
    assert verdict("layers", run(**{**whole, "top_k": 1, "step": 1})).verdict == "cannot be told"  # 4 of 4 by chance


def test_the_paper():
    own = {"method": "integrated_gradients_chi_squared", "attribution": {"words_per_tag": 20}, "site": "mlp"}
    last = run(layer=-1, read_at="prediction", metrics={low(ACCURACY): 0.8, high(ACCURACY): 0.89}, **own)
    judged = verdict("paper accuracy", last)
    assert judged.verdict == "does not hold"
    assert judged.measured.endswith(", layer 4, read at the prediction")
    share = verdict("paper share", run(layer="all", layers=range(9), metrics={UNION_SHARE: 0.012}, **own))
    assert (share.verdict, share.measured) == ("holds", "10 of 900 neurons = 1.20%")
    assert "20 attributed words" in share.reason
    assert verdict("paper share", run(layer="all", metrics={UNION_SHARE: 0.1}, **own)).verdict == "does not hold"


def test_the_order_of_classes():
    f1 = {"ADJ": 0.2, "DET": 0.9, "NOUN": 0.3, "PRON": 0.8}
    metrics = {
        f"per_tag/{name}/{tag}": value / n for name, n in (("f1", 1), ("random_f1", 10)) for tag, value in f1.items()
    }
    judged = verdict("classes", run(layer="all", layers=range(9), site="mlp", scope="model", top_k=1, metrics=metrics))
    # (.9 + .8 - .2 - .3) / 2 = .6, the largest of six: p = 2/6; ranks 1 4 2 3 against 3 4 1 2
    assert judged.measured.startswith("mean F1 of closed minus open classes +0.600 (p = 0.33); ")
    assert judged.measured.endswith("rank correlation with the paper's F1 0.40 over 4 tags")
    assert (judged.verdict, judged.control) == ("cannot be told", "random neurons: +0.060")
    assert judged.reason == "DET 0.90, PRON 0.80, NOUN 0.30, ADJ 0.20"


@pytest.mark.parametrize(
    ("sets", "p_adjusted", "expected", "reason"),
    [
        (99, 0.02, "does not hold", "hurt more than by random sets: DET"),
        (99, 0.5, "holds", "no effect detected; an increase above 0.021 bits per word"),
        (9, 0.5, "cannot be told", "too few random sets for 1 test: raise lesion.further_sets"),
    ],
)
def test_the_null_of_lesions(sets, p_adjusted, expected, reason):
    study = Study("zero", "random", ("DET", "NOUN"), 9, sets, 0.05, DIAGONAL)
    effect = LesionEffect(136, BEYOND, 0.01, p_adjusted, sets, 0.021, ())
    of_tag = Hypothesis("DET", 10, "mlp.8.1055", None, None, None, effect)
    hypotheses = Hypotheses("run", {}, None, (of_tag,), study)
    judged = verdict("null", run(site="mlp"), replace(run(site="mlp"), hypotheses=hypotheses))
    assert (judged.verdict, judged.control) == (expected, f"up to {sets} random sets")
    assert judged.reason.startswith(reason)


def test_the_files(tmp_path):
    page = ClaimPage({"model": "a<b>|c", "treebank": "t", "runs": "1"}, judge([run("my|run", step=10)]))
    html = write_claims(page, tmp_path).read_text("utf-8")
    assert "a&lt;b&gt;|c" in html
    assert html.count('<td class="verdict">') == len(CLAIMS)
    with (tmp_path / "claims.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [each["verdict"] for each in rows] == [each.verdict for each in page.rows]
    assert rows[0]["runs"] == "my|run"
    assert (tmp_path / "claims.md").read_text("utf-8") == claims_markdown(page)
    assert "a&lt;b&gt;&#124;c" in claims_markdown(page)
