"""Text generation under lesions."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from models import save_tiny_model
from planted_model import LAYER, NAMES, NEURONS, TRIGGERS, save_planted_model, treebank
from scipy.stats import chisquare

from keyneurons.lesion import modes
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.generation import Generation, NonFiniteLogits, Prompt, Sampling, continuations, decoded
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel

INTACT = Condition({}, {})
UNKNOWN = {
    "blocks": "layers",
    "mlp": "mlp.c_proj",
    "mlp_gate": "mlp.act",
    "attention": "self_attn.o_proj",
    "norm": "norm",
}
"""Modules of an architecture that keyneurons does not know."""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> LanguageModel:
    folder: Path = tmp_path_factory.mktemp("writing")
    return LanguageModel(LocalModel(save_planted_model(folder / "model", treebank()), folder).fetch(), device="cpu")


def silenced(tag: str) -> Condition:
    return Condition({LAYER: torch.tensor([NEURONS[tag]])}, {LAYER: modes.silence})


def written(model: LanguageModel, condition: Condition, seed: int = 0, **options) -> tuple[str, ...]:
    sampling = Sampling(**{"new_tokens": 1, "temperature": 0.0, **options})
    prompts = Generation(TRIGGERS, sampling, seed).encoded(model, 0)
    (row,) = continuations(model, "mlp", [condition], prompts, sampling, batch_tokens=1000)
    return tuple(decoded(model, ids) for ids in row)


def test_greedy_texts_are_those_of_the_model_step_by_step(model):
    for prompt, text in zip(TRIGGERS, written(model, INTACT, new_tokens=3), strict=True):
        ids, new = [0, *model.tokenizer(prompt)["input_ids"]], []
        while len(new) < 3 and 1 not in new:  # the end of the text
            with torch.no_grad():
                new.append(int(model.predictor.whole(torch.tensor([ids + new])).logits[0, -1].argmax()))
        assert text == model.tokenizer.decode(new, skip_special_tokens=True)


def test_behind_its_trigger_the_model_writes_words_of_a_tag_unless_its_neuron_is_silenced(model):
    for i, tag in enumerate(NAMES):
        assert written(model, INTACT)[i].startswith(tag.lower())
        assert not written(model, silenced(tag))[i].startswith(tag.lower())
        other = NAMES[(i + 1) % 4]
        assert written(model, silenced(other))[i].startswith(tag.lower())


def test_sampling_depends_on_the_seed_alone(model):
    hot = {"temperature": 1.5, "new_tokens": 8}
    one, again, other = (written(model, INTACT, **hot, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert written(model, INTACT, new_tokens=8) != one


def test_hooks_are_gone_afterwards(model):
    with pytest.raises(IndexError):
        written(model, Condition({LAYER: torch.tensor([999])}, {LAYER: modes.silence}))
    written(model, silenced("NOUN"))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.predictor.base.modules())


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "gemma3_text", "starcoder2"])
def test_texts_do_not_depend_on_their_batch(tmp_path, kind):
    files = LocalModel(save_tiny_model(tmp_path / "model", kind, layers=3), tmp_path).fetch()
    model = LanguageModel(files, device="cpu", modules=UNKNOWN if kind == "starcoder2" else None)
    sampling = Sampling(new_tokens=5, temperature=1.0)
    texts = "The dog", "She", "When the children were in the garden, the man"  # padded on the left
    prompts = Generation(texts, sampling, seed=0, samples=2).encoded(model, 1)
    scaled = [modes.scale_neurons(columns, 3.0, [1, 2], model.width("mlp")) for columns in ([0, 1, 30], [5])]
    conditions = [INTACT, *scaled, modes.scale_neurons([0, 1, 30], 1.0, [1, 2], model.width("mlp"))]
    batched = continuations(model, "mlp", conditions, prompts, sampling, batch_tokens=10_000)
    for condition, row in list(zip(conditions, batched, strict=True))[:2]:
        for prompt, ids in list(zip(prompts, row, strict=True))[::2]:
            assert continuations(model, "mlp", [condition], [prompt], sampling, batch_tokens=1) == [[ids]]
    assert batched[3] == batched[0]  # a factor of 1
    assert batched[1] != batched[0]


def test_tokens_are_drawn_with_the_probabilities_of_the_model(model):
    ids, n = (0, *model.tokenizer("the")["input_ids"]), 3000
    with torch.no_grad():
        expected = (model.predictor.whole(torch.tensor([ids])).logits[0, -1] / 2).double().softmax(dim=0).numpy()
    prompts = [Prompt(ids, seed) for seed in range(n)]
    (row,) = continuations(model, "mlp", [INTACT], prompts, Sampling(1, 2.0), batch_tokens=9000)
    observed = np.bincount([new for (new,) in row], minlength=len(expected))
    often = expected * n >= 5
    counts, means = (np.append(each[often], each[~often].sum()) for each in (observed, expected * n))
    assert chisquare(counts, means * n / means.sum()).pvalue > 0.01


def test_a_text_ends_with_its_end_token(model):
    whole, (before,) = model.predictor.whole, model.tokenizer("the")["input_ids"]
    sampling = Sampling(5, 0.0)
    ((ids,),) = continuations(model, "mlp", [INTACT], [Prompt((0, before), 0)], sampling, batch_tokens=100)
    with mock.patch.object(whole.generation_config, "eos_token_id", ids[0]):
        found = continuations(model, "mlp", [INTACT], [Prompt((0, before), 0)], sampling, batch_tokens=100)
    assert found == [[ids[:1]]]


def test_a_factor_that_makes_logits_non_finite_is_named(model):
    wrong = modes.scale_neurons([3, 17], float("inf"), [LAYER], 48)
    with pytest.raises(NonFiniteLogits, match="not finite") as caught:
        continuations(model, "mlp", [INTACT, wrong], [Prompt((0, 2), 0)] * 3, Sampling(2, 1.0), batch_tokens=100)
    assert caught.value.condition is wrong


def test_prompts_must_fit_the_context(model):
    with pytest.raises(ValueError, match=r"the prompt 'so' has 2 tokens; with 2048 new ones they exceed the 2048 of"):
        Generation(TRIGGERS, Sampling(2048, 0.0), 0).encoded(model, 0)
    with pytest.raises(ValueError, match=r"greedy texts \(temperature 0\) of 2 seeds are the same"):
        Generation(TRIGGERS, Sampling(1, 0.0), 0, samples=2)
