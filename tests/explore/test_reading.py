"""What is read from typed text equals what the model and the probes compute."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from loaded_run import NEURONS, TAGS, loaded_run
from scipy.special import softmax

from keyneurons.explore.reading import column_of
from keyneurons.explore.session import Session

TEXT = "The dog runs in the garden.\nShe reads"


@pytest.fixture
def run(reader):
    return loaded_run(reader(site="mlp"))


def hidden_of(run, line: str) -> dict[int, torch.Tensor]:
    """Inputs of the down-projections of all tokens of a line with BOS, by a hook of our own."""
    model, kept = run.read.model, {}
    handles = [
        model.network.layers[i].mlp.down_proj.register_forward_pre_hook(
            lambda _, inputs, i=i: kept.__setitem__(i, inputs[0][0].clone())
        )
        for i in run.read.layers
    ]
    ids = [model.tokenizer.bos_token_id, *model.tokenizer(line, add_special_tokens=False)["input_ids"]]
    with torch.no_grad():
        model.network(torch.tensor([ids]))
    for handle in handles:
        handle.remove()
    return kept


def test_activations_are_those_of_the_last_token_of_each_word(run):
    session = Session([run])
    answer = session.read("r1", TEXT, "NOUN", "mlp.2.30")
    expected = []
    for line in TEXT.splitlines():
        tokens = run.read.model.tokenizer(line, add_special_tokens=False, return_offsets_mapping=True)
        words = [w for s in answer.text.typed.sentences if s.text == line for w in s.words]
        for word in words:
            [last] = [i for i, (a, b) in enumerate(tokens["offset_mapping"]) if a < word.end <= b]
            expected.append(float(hidden_of(run, line)[2][1 + last, 30]))
    np.testing.assert_allclose(answer.values, expected, rtol=1e-3, atol=1e-4)  # float16


def test_tags_are_those_of_the_probes(run):
    answer = Session([run]).read("r1", TEXT, "NOUN", "mlp.0.3").text
    for each in run.probes:
        p = each.probe
        values = answer.activations[:, p.columns]
        logits = (values - p.mean.numpy()) / p.std.numpy() @ p.weight.numpy()
        share = softmax(logits.astype(np.float64), axis=1)
        assert [read.tag for read in answer.tags[each.name]] == [TAGS[i] for i in share.argmax(1)]
        np.testing.assert_allclose([read.probability for read in answer.tags[each.name]], share.max(1), rtol=1e-4)


def test_first_words_are_not_read_at_prediction(reader):
    run = loaded_run(reader(site="mlp", read_at="prediction"))
    answer = Session([run]).read("r1", TEXT, "NOUN", "mlp.0.3")
    unread = [i for i, value in enumerate(answer.values) if value is None]
    assert unread == [0, 7]
    assert all(own[0] is None and own[7] is None for own in answer.text.tags.values())


def test_columns_are_in_the_order_of_the_layers(run):
    assert column_of(run, 0, 3) == 3
    assert column_of(run, 2, 3) == 48 + 3


def test_a_text_with_several_batches_keeps_its_order(run):
    answer = Session([run]).read("r1", "a\nThe dog and the cat\nb", "NOUN", "mlp.0.3")
    small = Session([replace(run, read=replace(run.read, batch_tokens=4))]).read(
        "r1", "a\nThe dog and the cat\nb", "NOUN", "mlp.0.3"
    )
    np.testing.assert_allclose(answer.values, small.values, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("other", "a", "NOUN", "mlp.0.3"), "The page has the runs r1; got 'other'."),
        (("r1", "a", "ADJ", "mlp.0.3"), "The run has no key neurons of 'ADJ'; it has those of NOUN, VERB."),
        (("r1", "a", "VERB", "mlp.0.3"), "The key neurons of VERB are mlp.2.7; got 'mlp.0.3'."),
        (("r1", " ", "VERB", "mlp.2.7"), "Type a sentence."),
    ],
    ids=["run", "tag", "neuron", "text"],
)
def test_illegal_values(run, asked, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the message is compared below)
        Session([run]).read(*asked)
    assert str(error.value) == message


def test_neurons_are_listed_with_their_other_tags(run):
    own = Session([run]).neurons("r1", "NOUN")
    assert [each.name for each in own] == [f"mlp.{layer}.{n}" for layer, n in NEURONS["NOUN"]]
    assert [each.rank for each in own] == [1, 2, 3]
    assert [each.also for each in own] == [(), (), ("VERB",)]
    values = run.activations[2][:, 30].astype(np.float64)
    assert own[1].profile.centre == np.median(values)
    assert own[1].profile.highest == values.max()
