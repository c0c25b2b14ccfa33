"""Steering: a planted neuron raises its tag's share, random neurons of a random model do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from planted_model import LAYER, NAMES, TRIGGERS, WORDS, labels_of, save_planted_model, treebank

from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.analysis.controls import matched_random_sets
from keyneurons.analysis.steering import beside_sets
from keyneurons.data.minimal_pairs import MinimalPair
from keyneurons.lesion.generation import Generation, Sampling
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel
from keyneurons.pipeline.steering.measures import (
    BITS,
    DISTANCE,
    DRIFT,
    KNOWN,
    PAIRS,
    SHARE,
    between_samples,
    measures_of,
)
from keyneurons.pipeline.steering.study import SteeringResult, SteeringStudy, steer
from keyneurons.pipeline.steering.taggers import by_lexicon, by_stanza, lexicon_of, words_of
from keyneurons.pipeline.steering.texts import Texts

PLANTED, PUSHED = 5, "noun0"
GENERATION = Generation((*TRIGGERS, *WORDS["ADJ"]), Sampling(6, 1.0), seed=0, samples=3)
PAIR = MinimalPair("the noun1", "noun1 the", "order")
STUDY = SteeringStudy("NOUN", (0.0, 1.0, 4.0, 12.0), "random", 7, GENERATION, (PAIR, PAIR), 300, 0)


@pytest.fixture(scope="module")
def read(tmp_path_factory) -> ActivationReader:
    folder: Path = tmp_path_factory.mktemp("steering")
    path = save_planted_model(folder / "model", treebank(), steps=0)
    model = LanguageModel(LocalModel(path, folder).fetch(), device="cpu")
    mlp, head = model.predictor.base.layers[LAYER].mlp, model.predictor.head
    direction = torch.randn(32, generator=torch.Generator().manual_seed(0)) / 4
    with torch.no_grad():  # the activation is never negative and pushes one noun
        mlp.gate_proj.weight[PLANTED] = mlp.up_proj.weight[PLANTED] = direction
        pushed = head.weight[model.tokenizer.convert_tokens_to_ids(PUSHED)]
        mlp.down_proj.weight[:, PLANTED] = pushed / pushed.norm()
    return ActivationReader(model, "mlp", (LAYER,), store=ActivationStore(folder / "store"))


@pytest.fixture(scope="module")
def taggers() -> dict:
    labels = labels_of(treebank())
    return {SHARE: by_lexicon(lexicon_of(labels.splits["train"], labels.names))}


@pytest.fixture(scope="module")
def steered(read, taggers) -> SteeringResult:
    return steer(STUDY, read, [PLANTED], matched_random_sets([PLANTED], 48, 1, 7, 1), taggers)


def test_a_planted_neuron_raises_the_share_of_its_tag(steered: SteeringResult) -> None:
    shares = [measures[SHARE].key.value for measures in steered.doses.values()]
    assert shares == sorted(shares)
    assert shares[-1] > shares[0] + 0.3
    strongest = steered.doses[12.0]
    assert strongest[SHARE].difference.low > 0.1
    assert strongest[SHARE].p_value == 1 / 8
    assert strongest[DISTANCE].difference.low > 0
    assert strongest[BITS].key.value > steered.intact[BITS].value
    assert PUSHED in steered.texts.texts[steered.rows[12.0][0]][0]


def test_a_factor_of_1_is_the_intact_model(steered: SteeringResult) -> None:
    for name, beside in steered.doses[1.0].items():
        assert beside.key.value == beside.sets.value == steered.intact[name].value
        assert beside.difference.value == 0
        assert beside.p_value == 1
    assert steered.doses[1.0][DISTANCE].key.value == steered.doses[1.0][DRIFT].key.value == 0
    assert set(steered.intact) == {SHARE, KNOWN, BITS, DISTANCE, DRIFT, PAIRS}


def test_curves_are_by_thousandths_of_the_factor(steered: SteeringResult) -> None:
    curves = steered.curves()
    assert curves["steer/NOUN/factor"] == {0: 0.0, 1000: 1.0, 4000: 4.0, 12000: 12.0}
    bits = steered.doses[4.0][BITS]
    assert curves["steer/NOUN/perplexity"][4000] == 2**bits.key.value
    assert curves["steer/NOUN/random/bits"][4000] == bits.sets.value
    assert curves["steer/NOUN/share_p_value"][12000] == 1 / 8


def test_random_neurons_of_a_random_model_do_not_shift_measures_on_average(read, taggers) -> None:
    others = [n for n in range(48) if n != PLANTED]
    sets = np.random.default_rng(0).permutation(others)[:36].reshape(12, 3)
    study = replace(STUDY, factors=(8.0,), sets=12, generation=replace(GENERATION, samples=4))
    result = steer(study, read, others[:3], sets, taggers)
    rows = [0, *result.rows[8.0][1:]]  # the intact model in place of the key neurons
    for tag in NAMES:
        sums = measures_of(result.texts, rows, tag, taggers)
        for name in (SHARE, KNOWN):
            shift = beside_sets(sums[name], draws=300, seed=0).difference
            error = (shift.high - shift.low) / (2 * 1.96)
            assert abs(shift.value) < 3 * error, (tag, name)
    moved = beside_sets(sums[DISTANCE], draws=300, seed=0).difference  # the sanity twin: texts did change
    assert moved.high < 0


def test_measures_by_hand(taggers) -> None:
    generation = Generation(("p", "q"), Sampling(3, 1.0), 0, samples=2)
    texts = Texts(
        generation,
        (("noun1 noun2 what", "adj1", "", "noun1"), ("noun1 adv1 what", "adj1 noun1", "verb1", "noun1")),
        np.array([[6.0, 2.0, 1.0, 3.0], [9.0, 5.0, 2.0, 4.0]]),
        np.array([[3, 1, 1, 1], [3, 2, 1, 1]]),
        np.array([[[1.0, 0.0]] * 4, [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]]),
    )
    found = measures_of(texts, [0, 1], "NOUN", taggers)
    assert found[SHARE].totals.tolist() == [[2, 1], [2, 1]]
    assert found[SHARE].counts.tolist() == [[3, 1], [4, 2]]
    assert found[KNOWN].counts.tolist() == [[4, 1], [5, 2]]
    assert found[BITS].values.tolist() == [12 / 6, 20 / 7]
    assert found[DISTANCE].totals.tolist() == [[0, 0], [1 / 3 + 1 / 2, 1]]
    assert found[DRIFT].totals.tolist() == [[0, 0], [1, 0]]
    assert between_samples(texts) == {DISTANCE: 1.0, DRIFT: 0.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factors": (float("nan"),)}, r"^factors must be numbers from -1,000,000 to 1,000,000, got nan$"),
        ({"factors": (1e7,)}, r"got 1e\+07$"),
        ({"factors": (1.0, 1.0002)}, r"^factors must differ by at least 0.001, got 1, 1.0002$"),
        ({"sets": 1}, r"^--sets must be at least 2, for intervals, got 1$"),
    ],
    ids=["nan", "large", "alike", "sets"],
)
def test_bad_settings(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        replace(STUDY, **changes)


def test_a_factor_that_overflows_is_named(read, taggers) -> None:
    mlp = read.model.predictor.base.layers[LAYER].mlp
    before = mlp.down_proj.weight.clone()
    with torch.no_grad():
        mlp.down_proj.weight.fill_(1e34)
    study = replace(STUDY, factors=(0.0, 1e6), generation=replace(GENERATION, samples=1))
    try:
        with pytest.raises(ValueError, match=r"^factor 1e\+06 makes logits that are not finite; use a smaller one$"):
            steer(study, read, list(range(48)), np.array([[1] * 48, [2] * 48]), taggers)
    finally:
        with torch.no_grad():
            mlp.down_proj.weight.copy_(before)


def test_words_are_lower_case_words_and_marks() -> None:
    assert words_of(" It's 3 o'clock, Anna.") == ["it", "'s", "3", "o", "'", "clock", ",", "anna", "."]


def test_stanza_tags_the_words_behind_the_prompt_once() -> None:
    calls = []

    def pipeline(text: str) -> SimpleNamespace:
        calls.append(text)
        tokens, start = [], 0
        for form in text.split():
            start = text.index(form, start)
            word = SimpleNamespace(text=form, upos=form.upper(), xpos=None, feats="Number=Sing")
            tokens.append(SimpleNamespace(words=[word], start_char=start, end_char=start + len(form)))
        return SimpleNamespace(sentences=[SimpleNamespace(tokens=tokens)])

    tag = by_stanza(pipeline, "upos")
    assert tag("the old", " dog runs") == tag("the old", " dog runs") == ("DOG", "RUNS")
    assert calls == ["the old dog runs"]
    assert by_stanza(pipeline, "feats.Number")("the", " dog") == ("Sing",)
    with pytest.raises(ValueError, match="deprel needs syntax"):
        by_stanza(pipeline, "deprel")
