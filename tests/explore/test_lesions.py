"""Effects of lesions equal those of a model with scaled weights."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from loaded_run import NEURONS, loaded_run

from keyneurons.analysis.controls import matched_random_sets
from keyneurons.explore.lesions import INTACT, KEY, RANDOM, Change
from keyneurons.explore.session import Session

TEXT = "The dog cannot run in the garden"


@pytest.fixture
def run(reader):
    return loaded_run(reader(site="mlp"))


def scaled_model(run, places, factor):
    """A copy of the model with the columns of the down-projections scaled: the same function."""
    model = copy.deepcopy(run.read.model.predictor.whole)
    with torch.no_grad():
        for layer, neuron in places:
            model.model.layers[layer].mlp.down_proj.weight[:, neuron] *= factor
    return model


def ids_of(run, line):
    tokenizer = run.read.model.tokenizer
    return [tokenizer.bos_token_id, *tokenizer(line, add_special_tokens=False)["input_ids"]]


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].double()


@pytest.mark.parametrize("factor", [0.0, 2.0, -1.5])
def test_next_tokens_and_surprisal_are_those_of_the_scaled_model(run, factor):
    effect = Session([run]).lesion("r1", TEXT, Change("NOUN", factor, draw=4))
    own = [run.sets.layers.index(layer) * 48 + n for layer, n in NEURONS["NOUN"]]
    drawn = matched_random_sets(own, 48, 2, 1, 4)[0]
    random = [(run.sets.layers[c // 48], int(c % 48)) for c in drawn]
    for name, places in {INTACT: (), KEY: NEURONS["NOUN"], RANDOM: random}.items():
        ids = ids_of(run, TEXT)
        logits = logits_of(scaled_model(run, places, factor), ids)
        probabilities = logits.softmax(dim=1).numpy()
        np.testing.assert_allclose(effect.predicted[name].next, probabilities[-1], rtol=1e-4, atol=1e-7)
        tokens = run.read.model.tokenizer(TEXT, add_special_tokens=False)
        for word, bits in zip(effect.typed.sentences[0].words, effect.predicted[name].bits, strict=True):
            first, last = tokens.char_to_token(word.start), tokens.char_to_token(word.end - 1)
            expected = -sum(math.log2(probabilities[i, ids[i + 1]]) for i in range(first, last + 1))
            assert bits == pytest.approx(expected, rel=1e-4)
    assert not np.allclose(effect.predicted[KEY].next, effect.predicted[INTACT].next, rtol=1e-3)


def test_a_factor_of_one_changes_nothing(run):
    session = Session([run])
    effect = session.lesion("r1", TEXT, Change("NOUN", 1.0, 0))
    for name in (KEY, RANDOM):
        assert effect.predicted[name].bits == effect.predicted[INTACT].bits
        assert np.array_equal(effect.predicted[name].next, effect.predicted[INTACT].next)
    assert len(set(session.continuations("r1", TEXT, Change("NOUN", 1.0, 0), 6).values())) == 1
    nearly = session.lesion("r1", TEXT, Change("NOUN", 1 + 1e-7, 0))  # takes the path of a lesion
    np.testing.assert_allclose(nearly.predicted[KEY].bits, effect.predicted[INTACT].bits, rtol=1e-4)


def test_the_top_tokens_are_the_most_probable_of_the_intact_model(run):
    effect = Session([run]).lesion("r1", TEXT, Change("VERB", 0.0, 0))
    probabilities = effect.predicted[INTACT].next
    assert sorted(probabilities, reverse=True)[:10] == probabilities[effect.top].tolist()
    assert probabilities.sum() == pytest.approx(1)
    assert effect.tokens == tuple(run.read.model.tokenizer.decode([i]) for i in effect.top.tolist())


def test_lines_are_independent_and_the_last_is_continued(run):
    session, change = Session([run]), Change("NOUN", 0.0, 0)
    both = session.lesion("r1", "The rain is cold.\nShe runs", change)
    alone = [session.lesion("r1", line, change) for line in ("The rain is cold.", "She runs")]
    for name in (INTACT, KEY, RANDOM):
        expected = [bits for each in alone for bits in each.predicted[name].bits]
        np.testing.assert_allclose(both.predicted[name].bits, expected, rtol=1e-5)
        np.testing.assert_allclose(both.predicted[name].next, alone[1].predicted[name].next, rtol=1e-4)
    assert session.continuations("r1", "The rain is cold.\nShe runs", change, 5) == session.continuations(
        "r1", "She runs", change, 5
    )


def test_continuations_are_those_of_the_scaled_model_step_by_step(run):
    texts = Session([run]).continuations("r1", TEXT, Change("NOUN", -2.0, 0), 7)
    tokenizer = run.read.model.tokenizer
    for name, places in {INTACT: (), KEY: NEURONS["NOUN"]}.items():
        model, ids, new = scaled_model(run, places, -2.0), ids_of(run, TEXT), []
        while len(new) < 7 and tokenizer.eos_token_id not in new:
            new.append(int(logits_of(model, ids + new)[-1].argmax()))
        assert texts[name] == tokenizer.decode(new, skip_special_tokens=True)


def test_words_that_share_a_token_are_not_measured(run):
    effect = Session([run]).lesion("r1", "the dog\u20ac x", Change("NOUN", 0.0, 0))
    assert None not in effect.predicted[KEY].bits
    without = loaded_run(type(run.read)(**{**run.read.__dict__, "bos": None}))
    effect = Session([without]).lesion("r1", "the dog", Change("NOUN", 0.0, 0))
    assert effect.predicted[INTACT].bits[0] is None  # nothing predicts the first token
    assert effect.predicted[INTACT].bits[1] is not None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((math.nan, 0), "The factor must be a number from -100 to 100, got nan."),
        ((101.0, 0), "The factor must be a number from -100 to 100, got 101.0."),
        ((0.0, -1), "The random set must be a number from 0 to 2147483647, got -1."),
    ],
    ids=["nan", "large", "draw"],
)
def test_illegal_changes(values, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the message is compared below)
        Change("NOUN", *values)
    assert str(error.value) == message


def test_illegal_numbers_of_tokens(run):
    for n in (0, 21):
        with pytest.raises(ValueError, match=rf"must lie in 1\.\.20, got {n}"):
            Session([run]).continuations("r1", TEXT, Change("NOUN", 0.0, 0), n)


def test_a_model_that_does_not_predict_words_has_no_lesions(reader):
    run = loaded_run(reader("bert", site="residual"))
    session = Session([run])
    assert session.read("r1", TEXT, "VERB", "residual.2.7").values
    with pytest.raises(ValueError, match="does not predict the next token"):
        session.lesion("r1", TEXT, Change("VERB", 0.0, 0))
