"""Batches fit the memory budget; a budget too small for one word raises."""

from __future__ import annotations

import itertools
import re

import attributing
import numpy as np
import pytest
import torch
from attributing import ALL, TEXTS, predicted
from models import sentence

from keyneurons.activations.alignment import Encoder
from keyneurons.attribution.budget import batching, head_rows
from keyneurons.attribution.integral import Quadrature
from keyneurons.attribution.passes import Attributor
from keyneurons.attribution.paths import GradientPath, JointPath, LayerPath
from keyneurons.attribution.targets import predictable

MB = 2**20
LONG = sentence("The" + " the" * 400, name="long")
PATHS = (LayerPath(Quadrature("left", 20)), JointPath(Quadrature("left", 20)), GradientPath())


def plan_of(model, path, budget, head=50):
    words = predicted(model, words=[(0, 6)])
    return batching(budget, path, words.differentiator(head_rows=head), words.recording)


def by_name(path):
    return type(path).__name__


@pytest.mark.parametrize("path", PATHS, ids=by_name)
def test_a_plan_has_all_copies_of_its_words_within_the_budget(llama, path):
    plan = plan_of(llama, path, 4 * MB)
    assert plan.copies == path.copies
    assert plan.words > 1
    assert plan.estimate <= 4 * MB
    one_more = plan.estimate / plan.words * (plan.words + 1)
    assert one_more > 0.75 * 4 * MB  # a quarter is for logits


@pytest.mark.parametrize("kind", [LayerPath, JointPath])
def test_more_steps_take_more(llama, kind):
    plans = [plan_of(llama, kind(Quadrature("left", steps)), 16 * MB) for steps in (2, 5, 20, 50, 100)]
    for_one = [plan.estimate / plan.words for plan in plans]
    assert for_one == sorted(set(for_one))
    words = [plan.words for plan in plans]
    assert words == sorted(set(words), reverse=True)


def test_all_layers_jointly_take_more_than_the_deepest_pass(llama):
    layer, joint, gradient = (plan.estimate / plan.words for plan in (plan_of(llama, p, 8 * MB) for p in PATHS))
    assert gradient < layer < joint


@pytest.mark.parametrize("path", PATHS, ids=by_name)
def test_half_the_budget_fits_half_the_words(llama, path):
    plans = [plan_of(llama, path, budget) for budget in (16 * MB, 8 * MB, 4 * MB, 2 * MB, MB)]
    for whole, half in itertools.pairwise(plans):
        assert half.copies == whole.copies
        assert whole.words / 2 - 0.5 <= half.words <= whole.words / 2 + 0.5


# the trial must not depend on reused addresses: an interrupted run resumes with the same plan
@pytest.mark.parametrize("path", PATHS, ids=by_name)
def test_plans_are_reproducible(llama, path):
    ballast = []
    plans = []
    for i in range(12):
        plans.append(plan_of(llama, path, 4 * MB))
        ballast += [torch.empty(100 + 37 * i) for _ in range(i)]
    assert len(set(plans)) == 1


@pytest.mark.parametrize("path", PATHS, ids=by_name)
def test_longer_sentences_take_more(llama, path, monkeypatch):
    short = plan_of(llama, path, 4 * MB)
    monkeypatch.setattr(attributing, "TEXTS", (LONG,))
    assert plan_of(llama, path, 4 * MB).words < short.words


def test_a_budget_below_one_word_splits_its_copies(llama):
    path = PATHS[0]
    for_one = plan_of(llama, path, 8 * MB).estimate / plan_of(llama, path, 8 * MB).words
    plan = plan_of(llama, path, int(for_one))
    assert plan.words == 1
    assert 1 <= plan.copies < path.copies
    words = predicted(llama)
    start = {layer: torch.zeros(48) for layer in words.layers}
    split, whole = (
        path(words.differentiator("probability"), words.recording, words.tokens, start, copies)
        for copies in (plan.copies, path.copies)
    )
    for layer in words.layers:
        largest = float(whole.by_layer[layer].abs().max())
        torch.testing.assert_close(split.by_layer[layer], whole.by_layer[layer], rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize("path", PATHS, ids=by_name)
@pytest.mark.parametrize("long", [False, True])
def test_a_budget_that_is_too_small_names_the_minimum(llama, path, long, monkeypatch):
    if long:
        monkeypatch.setattr(attributing, "TEXTS", (LONG,))
    with pytest.raises(ValueError, match=r"^activations.memory_mb must be at least \d+ for one word, got 0$") as error:
        plan_of(llama, path, 1000)
    least = int(re.findall(r"at least (\d+)", str(error.value))[0])
    plan = plan_of(llama, path, least * MB)
    assert plan.words >= 1
    assert plan.copies >= 1
    if least > 1:
        with pytest.raises(ValueError, match=f"at least {least} for one word, got {least - 1}"):
            plan_of(llama, path, (least - 1) * MB)


def test_the_head_processes_at_least_one_row():
    assert head_rows(1, 400) == 1
    assert head_rows(64 * MB, 400) == 64 * MB // 4 // (4 * 4 * 400)
    assert head_rows(512 * MB, 128_000) < head_rows(1024 * MB, 128_000)


# they have a quarter of the budget and are computed for some rows at a time
@pytest.mark.parametrize("path", PATHS, ids=by_name)
def test_the_estimate_of_a_word_excludes_logits(llama, path):
    few, many = (plan_of(llama, path, 4 * MB, head=rows) for rows in (1, 50))
    assert few == many


def saved_bytes(words, path, plan):
    """Bytes saved for the backward pass by the largest pass over some words, without weights."""
    base, held, recording = words.model.predictor.base, {}, words.recording
    weights = {weight.untyped_storage().data_ptr() for weight in base.parameters()}

    def seen(value):
        if (place := value.untyped_storage().data_ptr()) not in weights:
            held[place] = value.untyped_storage().nbytes()
        return value

    layers = recording.activations if path.together else [0]
    copies = {layer: recording.activations[layer][:, None].repeat(1, plan.copies, 1) for layer in layers}
    with torch.autograd.graph.saved_tensors_hooks(seen, lambda value: value):
        words.differentiator(head_rows=50)(
            recording, ALL, words.tokens, dict.fromkeys(layers) if path.copies == 1 else copies, plan.copies
        )
    return sum(held.values())


# long sentences need more memory for the attention of each copy and the keys and values of a word,
# repeated for the heads that share them; the first target is in a short sentence
@pytest.mark.parametrize("path", PATHS, ids=by_name)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(("long", "word"), [(False, 20), (True, 398)], ids=["short", "long"])
def test_a_batch_stays_within_the_budget(tiny, monkeypatch, attention, path, long, word):
    texts = (*TEXTS[:1], LONG) if long else TEXTS[:1]
    monkeypatch.setattr(attributing, "TEXTS", texts)
    model = tiny()
    model.predictor.base.set_attn_implementation(attention)
    encoded = Encoder(model.tokenizer, bos=1, pooling="mean")(texts)
    n_words = len(encoded[0].reads)
    rows = np.array([6, n_words * long + word])  # the first is in a short sentence
    budget = 16 * MB if long else 4 * MB
    plan = Attributor(model, "mlp", path, "probability", budget).plan(
        encoded, predictable(encoded, rows, 1), (0, 1, 2, 3)
    )
    assert plan.words > 1
    words = predicted(model, words=[(int(long), word)] * plan.words)
    kept = saved_bytes(words, path, plan)
    assert kept <= budget
    assert kept > 0.05 * budget  # and most of it
