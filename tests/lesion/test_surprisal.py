"""Lesioned passes equal whole passes with changed activations, and leave no hooks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from models import SHAPES, SMALL, save_tiny_model, sentences
from torch import Tensor

from keyneurons.activations.alignment import Encoder
from keyneurons.activations.capture import hook_site
from keyneurons.lesion.conditions import Condition, Replacement
from keyneurons.lesion.modes import hold_at, resample, scale_by, silence
from keyneurons.lesion.rows import Words
from keyneurons.lesion.surprisal import Readout, Surprisal
from keyneurons.models.families import FAMILIES, block_modules, submodule
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel

TEXTS = sentences()
KINDS = [kind for kind in SHAPES if kind in FAMILIES and FAMILIES[kind].causal]
INTACT = Condition({}, {})


def lesion(neurons: dict[int, list[int]], change: Replacement = silence) -> Condition:
    return Condition({layer: torch.tensor(n) for layer, n in neurons.items()}, dict.fromkeys(neurons, change))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("lesioned")

    def of(kind: str = "llama") -> LanguageModel:
        changes = {"sliding_window": 6} if kind in {"mistral", "gemma2", "gemma3_text"} else {}
        if not (folder / kind).is_dir():
            save_tiny_model(folder / kind, kind, **changes)
        return LanguageModel(LocalModel(folder / kind, folder).fetch(), device="cpu")

    return of


@pytest.fixture(scope="module")
def encoded(models):
    return Encoder(models().tokenizer, bos=1, pooling="mean")(TEXTS)


@pytest.fixture(scope="module")
def words(encoded) -> Words:
    """Every third word; some have several tokens."""
    spans = [(s, a, b) for s, e in enumerate(encoded) for a, b in e.reads][::3]
    return Words(*(np.array(column) for column in zip(*spans, strict=True)))


def by_hand(model: LanguageModel, encoded, words: Words, through=None, site="mlp") -> np.ndarray:
    """Bits of every word by one whole pass per sentence."""
    found = []
    for s, first, last in zip(words.sentence, words.first, words.last, strict=True):
        ids = torch.tensor([encoded[s].ids])
        with torch.no_grad(), hook_site(model.predictor.base, model.family, site, through(s) if through else {}):
            logits = model.predictor.whole(input_ids=ids, use_cache=False).logits[0].double()
        nats = -logits.log_softmax(1)[torch.arange(first - 1, last), ids[0, first : last + 1]].sum()
        found.append(nats.item() / math.log(2))
    return np.array(found)


@pytest.mark.parametrize("kind", KINDS)
def test_conditions_side_by_side_are_whole_passes_one_by_one(models, encoded, words, kind):
    model = models(kind)
    mean = torch.linspace(-1, 1, 2)
    conditions = [
        INTACT,
        lesion({2: [0, 5, 7]}),
        lesion({1: [3, 8], 3: [4, 9]}, hold_at(mean)),
        lesion({0: [1, 2, 3, 4]}, scale_by(-2.0)),
        lesion({3: [n for n in range(model.width("mlp")) if n not in {1, 2}]}),
    ]

    by_gain = [(1.0, 0.0), (0.0, 0.0), (0.0, mean), (-2.0, 0.0), (0.0, 0.0)]

    def hooks(condition: Condition):
        gain, shift = by_gain[next(i for i, each in enumerate(conditions) if each is condition)]

        def change(layer: int):
            def through(value: Tensor) -> Tensor:
                value, chosen = value.clone(), condition.neurons[layer]
                value[:, :, chosen] = value[:, :, chosen] * gain + shift
                return value

            return through

        return lambda _: {layer: change(layer) for layer in condition.layers}

    found = Surprisal(model, "mlp", batch_tokens=60, pass_tokens=150)(encoded, words, conditions)
    for row, condition in zip(found, conditions, strict=True):
        np.testing.assert_allclose(row, by_hand(model, encoded, words, hooks(condition)), atol=2e-5)
    assert np.abs(found[1] - found[0]).max() > 1e-3


@pytest.mark.parametrize("site", ["mlp", "residual", "attention", "mlp_gate"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_site_of_every_family_is_exact_in_float64(models, encoded, words, kind, site):
    """The rest of the first lesioned block is broadcast over conditions; nothing else may change.

    Gemma 2 and 3 compute attention weights in float32.
    """
    model = models(kind)
    model.predictor.whole.double()
    conditions = [lesion({2: [0, 5, 7]}), lesion({1: [3, 8], 3: [4]}), lesion({1: [2]})]
    some = Words(words.sentence[::4], words.first[::4], words.last[::4])
    found = Surprisal(model, site, batch_tokens=60, pass_tokens=150)(encoded, some, conditions)
    for row, condition in zip(found, conditions, strict=True):
        silenced = {
            layer: lambda value, chosen=chosen: value.index_fill(2, chosen, 0)
            for layer, chosen in condition.neurons.items()
        }
        alone = by_hand(model, encoded, some, lambda _, silenced=silenced: silenced, site)
        np.testing.assert_allclose(row, alone, rtol=0, atol=2e-6 if kind in {"gemma2", "gemma3_text"} else 1e-12)


def test_a_block_that_flattens_its_sentences_is_repeated(encoded, words, tmp_path, monkeypatch):
    """Blocks of unknown families need not broadcast: OPT flattens sentences and tokens."""
    monkeypatch.setitem(SHAPES, "opt", {**SMALL, "ffn_dim": 48, "word_embed_proj_dim": 32})
    folder = save_tiny_model(tmp_path / "opt", "opt", layers=3)
    modules = {"blocks": "decoder.layers", "mlp": "fc2", "mlp_gate": "activation_fn", "attention": "self_attn.out_proj"}
    source = LocalModel(folder, tmp_path).fetch()
    model = LanguageModel(source, device="cpu", modules={**modules, "norm": "decoder.final_layer_norm"})
    found = Surprisal(model, "mlp", 60, 500)(encoded, words, [lesion({1: [2, 3]}), INTACT])
    np.testing.assert_allclose(found[1], by_hand(model, encoded, words), atol=1e-5)
    through = {1: lambda value: value.index_fill(2, torch.tensor([2, 3]), 0)}
    np.testing.assert_allclose(found[0], by_hand(model, encoded, words, lambda _: through), atol=1e-5)


def test_nothing_after_the_last_word_is_computed(models, encoded):
    """Sentences end where their last word is predicted; those without words are left out."""
    words = Words(np.array([0, 0, 2]), np.array([1, 3, 2]), np.array([1, 4, 2]))
    text = Surprisal(models(), "mlp", 60, 500).text(encoded, words, [INTACT])
    assert sorted(batch.rows.ids.numel() for batch in text.batches) == [2, 4]
    assert [batch.rows.sentences for batch in text.batches] == [[0], [2]]


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt_neox"])
@pytest.mark.parametrize("part", [3, 1024])
def test_probabilities_by_parts_are_those_of_the_whole_vocabulary(models, monkeypatch, kind, part):
    monkeypatch.setattr("keyneurons.models.head.PART", part)
    predictor = models(kind).predictor
    predictor.whole.double()
    generator = torch.Generator().manual_seed(0)
    hidden = 3 * torch.randn(20, 32, dtype=torch.float64, generator=generator)
    n_tokens = len(predictor.head.weight)
    tokens = torch.randint(n_tokens, (20,), generator=generator)
    with torch.no_grad():
        found = predictor.log_probability_by_parts(hidden, tokens)
        whole = predictor.logits(hidden).log_softmax(1)[torch.arange(20), tokens]
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)


def test_how_conditions_are_batched_changes_nothing(models, encoded, words):
    conditions = [lesion({layer: [i]}) for layer in (3, 0, 2) for i in range(4)]
    together = Surprisal(models(), "mlp", 60, 10_000)(encoded, words, conditions)
    alone = Surprisal(models(), "mlp", 60, 1)(encoded, words, conditions)
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("site", ["mlp", "residual", "attention", "mlp_gate"])
def test_a_lesion_of_nothing_changes_nothing_bit_for_bit(models, encoded, words, site):
    measure = Surprisal(models(), site, 60, 10_000)
    nothing = Condition({1: torch.tensor([], dtype=torch.long)}, {1: silence})
    intact, lesioned = (measure(encoded, words, [condition]) for condition in (INTACT, nothing))
    assert np.array_equal(intact, lesioned)
    np.testing.assert_allclose(intact[0], by_hand(models(), encoded, words), atol=1e-5)


@pytest.mark.parametrize("site", ["mlp", "attention"])
def test_a_lesion_of_all_neurons_is_the_ablated_module(models, encoded, words, site):
    model = models()
    everything = lesion({2: list(range(model.width(site)))})
    found = Surprisal(model, site, 60, 500)(encoded, words, [everything])
    block = block_modules(model.predictor.base, model.family)[2]
    projection = submodule(block, getattr(model.family, site))
    handle = projection.register_forward_hook(lambda *_: torch.zeros_like(_[2]))
    try:
        ablated = by_hand(model, encoded, words)
    finally:
        handle.remove()
    np.testing.assert_allclose(found[0], ablated, atol=1e-5)
    assert np.abs(ablated - by_hand(model, encoded, words)).max() > 1e-2


def test_a_lesion_where_words_are_predicted_leaves_what_comes_before_as_it_is(models, encoded, words):
    model = models()
    where = np.zeros((2, len(words)), dtype=bool)
    last = np.flatnonzero(words.sentence == 1)[-2]  # the last but one of its sentence
    where[1, last] = True
    conditions = [lesion({1: list(range(20))})] * 2
    found = Surprisal(model, "mlp", 60, 500).text(encoded, words, conditions)(conditions, where=where)[0]
    intact = Surprisal(model, "mlp", 60, 500)(encoded, words, [INTACT])[0]
    np.testing.assert_allclose(found[0], intact, atol=1e-6)  # nowhere
    changed = np.abs(found[1] - intact) > 1e-4
    assert changed[last]
    assert not changed[words.sentence != 1].any()
    assert not changed[(words.sentence == 1) & (words.first < words.first[last])].any()


def test_hooks_are_gone_after_an_exception(models, encoded, words):
    model = models()

    def broken(_: float) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        Surprisal(model, "mlp", 60, 500)(encoded, words, [lesion({1: [2]})], on_progress=broken)
    wrong = lesion({1: [4000]})
    with pytest.raises(IndexError):
        Surprisal(model, "mlp", 60, 500)(encoded, words, [wrong])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.predictor.base.modules())


def test_what_is_borrowed_depends_on_the_sentence_and_the_position_alone(models, encoded, words):
    rng = np.random.default_rng(0)
    donors = {2: torch.from_numpy(rng.normal(size=(10, 48)).astype(np.float32))}
    borrowing = lesion({2: [1, 4, 6]}, resample)
    many = Surprisal(models(), "mlp", 200, 2000, donors, 3)(encoded, words, [INTACT, borrowing])
    single = Surprisal(models(), "mlp", 1, 1, donors, 3)(encoded, words, [borrowing])
    np.testing.assert_allclose(many[1], single[0], atol=1e-5)
    assert np.abs(many[1] - many[0]).max() > 1e-3
    other = Surprisal(models(), "mlp", 200, 2000, donors, 4)(encoded, words, [borrowing])
    assert np.abs(other[0] - many[1]).max() > 1e-4

    def through(s: int):
        lender = np.random.default_rng([3, s]).integers(10, size=len(encoded[s].ids))

        def put(value: Tensor) -> Tensor:
            value = value.clone()
            value[0][:, [1, 4, 6]] = donors[2][lender][:, [1, 4, 6]]
            return value

        return {2: put}

    # padding to a longer sentence draws more donors, the first of which are the same
    np.testing.assert_allclose(many[1], by_hand(models(), encoded, words, through), atol=2e-5)


@pytest.mark.parametrize("pass_tokens", [1, 10_000])
def test_readouts_see_what_a_whole_pass_has_at_the_words(models, encoded, words, pass_tokens):
    model = models()
    conditions = [INTACT, lesion({3: [4]}), lesion({1: [0, 5]})]

    def third(hidden: Tensor, some: np.ndarray) -> Tensor:
        return hidden[..., 3] + torch.from_numpy(some)

    measure = Surprisal(model, "mlp", 60, pass_tokens)
    readouts = [Readout(2, third), Readout(None, third), Readout(1, third)]
    bits, block2, predicting, block1 = measure.text(encoded, words, conditions, readouts)(conditions, readouts)
    np.testing.assert_allclose(bits, measure(encoded, words, conditions), atol=1e-5)
    for i, condition in enumerate(conditions):
        through = {
            layer: lambda value, chosen=chosen: value.index_fill(2, chosen, 0)
            for layer, chosen in condition.neurons.items()
        }
        for w, (s, first, last) in enumerate(zip(words.sentence, words.first, words.last, strict=True)):
            ids = torch.tensor([encoded[s].ids])
            with torch.no_grad(), hook_site(model.predictor.base, model.family, "mlp", through):
                out = model.predictor.base(input_ids=ids, output_hidden_states=True, use_cache=False)
            assert block2[i, w] == pytest.approx(out.hidden_states[3][0, last, 3].item() + w, abs=1e-4)
            assert block1[i, w] == pytest.approx(out.hidden_states[2][0, last, 3].item() + w, abs=1e-4)
            assert predicting[i, w] == pytest.approx(out.last_hidden_state[0, first - 1, 3].item() + w, abs=1e-4)
    assert np.abs(block1[2] - block1[0]).max() > 1e-3  # the lesion has an effect after its layer,
    assert np.array_equal(block2[1], block2[0])  # and none before it
