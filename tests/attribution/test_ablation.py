"""Effects of single ablations against whole forward passes, and by hand in the last layer."""

from __future__ import annotations

import pytest
import torch
from attributing import predicted

from keyneurons.attribution.ablation import AblationEffect, AblationPath
from keyneurons.attribution.method import GradientXActivation, IntegratedGradients
from keyneurons.models.families import FAMILIES, block_modules, submodule
from keyneurons.selection.methods.correlation import Correlation

CAUSAL = sorted(kind for kind, family in FAMILIES.items() if family.causal)
NEURONS = {1: (0, 3, 7), 3: (2, 5)}


def effects(words, neurons, *, copies=33, mean=False):
    levels = {layer: each.mean(0) * mean for layer, each in words.recording.activations.items()}
    path = AblationPath(neurons)
    return path(words.differentiator(head_rows=50), words.recording, words.tokens, levels, copies).by_layer, levels


def check_against_whole_passes(words, *, mean):
    actual, levels = effects(words, NEURONS, mean=mean)
    with torch.no_grad():
        intact = words.whole()[:, 0]
        for layer, neurons in NEURONS.items():
            expected = torch.zeros_like(actual[layer])
            for neuron in neurons:
                ablated = words.recording.activations[layer].clone()
                ablated[:, neuron] = levels[layer][neuron]
                expected[:, neuron] = intact - words.whole({layer: ablated[:, None]})[:, 0]
            torch.testing.assert_close(actual[layer], expected, rtol=0, atol=1e-5)
            assert expected.abs().max() > 1e-4
            assert actual[layer].count_nonzero(dim=0).nonzero().flatten().tolist() == list(neurons)


@pytest.mark.parametrize("kind", CAUSAL)
def test_every_effect_is_that_of_one_whole_pass(tiny, kind):
    check_against_whole_passes(predicted(tiny(kind), "mlp", (1, 3)), mean=False)


@pytest.mark.parametrize("site", ["mlp_gate", "attention", "residual"])
def test_every_site_and_the_mean(llama, site):
    check_against_whole_passes(predicted(llama, site, (1, 3)), mean=True)


def test_batches_do_not_change_effects(llama):
    words = predicted(llama, "mlp", (0, 2))
    width = words.recording.activations[0].shape[1]
    every = dict.fromkeys((0, 2), tuple(range(width)))
    whole, singly = (effects(words, every, copies=copies)[0] for copies in (33, 2))
    for layer in every:
        torch.testing.assert_close(whole[layer], singly[layer], rtol=0, atol=5e-6)


def test_a_layer_without_candidates_has_no_effects(llama):
    words = predicted(llama, "mlp", (0, 2))
    assert not effects(words, {2: (1,)})[0][0].any()


def test_the_last_layer_by_hand(llama):
    """There, an ablated neuron takes its output vector from the residual stream, linearly."""
    words, hidden = predicted(llama, "mlp", (3,)), predicted(llama, "residual", (3,)).recording.activations[3]
    down = submodule(block_modules(llama.predictor.base, llama.family)[3], llama.family.mlp).weight
    activation, neurons = words.recording.activations[3], (4, 11, 30)
    actual = effects(words, {3: neurons})[0][3]
    for neuron in neurons:
        without = llama.predictor.norm(hidden - activation[:, neuron, None] * down[:, neuron])
        expected = words.whole()[:, 0] - llama.predictor.log_probability(without, words.tokens)
        torch.testing.assert_close(actual[:, neuron], expected.detach(), rtol=0, atol=1e-5)


def test_candidates_by_attribution_share_words_target_and_baseline():
    by = IntegratedGradients(rank_by="frequency", min_cramers_v=0.1, words_per_tag=3, steps=7)
    method = AblationEffect(ablation="mean", candidates=5, by=by, words_per_tag=9, min_context=2, min_probability=0.1)
    same = IntegratedGradients(
        rank_by="mean", target="log_probability", baseline="mean", words_per_tag=9, min_context=2, min_probability=0.1,
        steps=7,
    )  # fmt: skip
    assert method.preselection == same
    assert AblationEffect(candidates=5, by=Correlation()).preselection == Correlation()
    assert method.record()["by"]["kind"] == "IntegratedGradients"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": 0}, "candidates must be a whole number and at least 1, got 0"),
        ({"by": len}, "by must be a method that scores neurons, a dataclass, got builtin_function_or_method"),
        (
            {"by": AblationEffect(candidates=1, by=Correlation())},
            "by must be a method that scores neurons, a dataclass, got AblationEffect",
        ),
    ],
    ids=["candidates", "function", "itself"],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        AblationEffect(**{"candidates": 3, "by": GradientXActivation(), **options})
