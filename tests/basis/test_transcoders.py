"""Transcoders: encoded, found, and lesioned at the output of the feed-forward block."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from autoencoders import Tensors, random_sae, save_sae
from models import sentences

from keyneurons.activations.alignment import Encoder
from keyneurons.basis.sae import Autoencoder, Transcoders
from keyneurons.basis.sae_files import config_beside, read_autoencoder
from keyneurons.basis.sae_source import Place, SAESource
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.generation import Generation, Sampling, continuations
from keyneurons.lesion.modes import scale_by, silence
from keyneurons.lesion.rows import Words
from keyneurons.lesion.surprisal import Surprisal
from keyneurons.models.families import block_modules
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.norms import feed_forward_norm
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.scoring import Driver

X = np.random.default_rng(7).normal(size=(50, 6)).astype(np.float32)
RANDOM = {**random_sae(), "W_skip": np.random.default_rng(8).normal(size=(6, 6)).astype(np.float32)}
NAMES = {
    "Gemma Scope 2": {"W_enc": "w_enc", "W_dec": "w_dec", "W_skip": "affine_skip_connection"},
    "sparsify": {"W_enc": "encoder.weight", "b_enc": "encoder.bias"},
}


def by_hand(x: np.ndarray, activation: str, tensors: Tensors = RANDOM) -> np.ndarray:
    """Latents without any use of the decoder's bias."""
    before = x @ tensors["W_enc"] + tensors["b_enc"]
    kept = np.maximum(before, 0)
    if activation == "jumprelu":
        return np.where(before > tensors["threshold"], kept, 0)
    if activation == "topk":
        return np.where(kept >= np.sort(kept, axis=1)[:, -3:-2], kept, 0)
    return kept


def written(layout: str, *, skip: bool = True, threshold: bool = True) -> Tensors:
    tensors = {
        name: tensor
        for name, tensor in RANDOM.items()
        if (skip or name != "W_skip") and (threshold or name != "threshold")
    }
    if layout == "sparsify":
        tensors["W_enc"] = tensors["W_enc"].T
    return {NAMES.get(layout, {}).get(name, name): tensor for name, tensor in tensors.items()}


HOOKS = {"hook_name": "blocks.4.mlp.hook_in", "hook_name_out": "blocks.4.hook_mlp_out"}
OF_SCOPE_2 = {
    "architecture": "jump_relu",
    "type": "transcoder",
    "affine_connection": True,
    "hf_hook_point_in": "model.layers.4.pre_feedforward_layernorm.output",
    "hf_hook_point_out": "model.layers.4.post_feedforward_layernorm.output",
}
LAYOUTS: dict[str, tuple[str, Tensors, dict[str, Any] | None, str]] = {
    "SAELens": (
        "sae_weights.safetensors",
        written("SAELens", skip=False, threshold=False),
        {"architecture": "transcoder", "apply_b_dec_to_input": False, "d_in": 6, "d_out": 6, "metadata": HOOKS},
        "relu",
    ),
    "SAELens skip": (
        "sae_weights.safetensors",
        written("SAELens", threshold=False),
        {"architecture": "skip_transcoder", "metadata": HOOKS},
        "relu",
    ),
    "SAELens jumprelu": (
        "sae_weights.safetensors",
        written("SAELens", skip=False),
        {"architecture": "jumprelu_transcoder", **HOOKS},
        "jumprelu",
    ),
    "SAELens jumprelu skip": (
        "sae_weights.safetensors",
        written("SAELens"),
        {"architecture": "jumprelu_skip_transcoder", **HOOKS},
        "jumprelu",
    ),
    "Gemma Scope": ("params.npz", written("Gemma Scope", skip=False), None, "jumprelu"),
    "Gemma Scope 2": ("params.safetensors", written("Gemma Scope 2"), OF_SCOPE_2, "jumprelu"),
    "sparsify": (
        "sae.safetensors",
        written("sparsify", threshold=False),
        {"transcode": True, "skip_connection": True, "k": 3, "activation": "topk"},
        "topk",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_read_as_numpy_computes_it(tmp_path: Path, layout: str) -> None:
    file, tensors, config, activation = LAYOUTS[layout]
    path = save_sae(tmp_path / file, tensors, config)
    own, _ = read_autoencoder(path, config_beside(path), transcoder=True)
    np.testing.assert_allclose(own.encode(torch.from_numpy(X)), by_hand(X, activation), atol=1e-5)
    np.testing.assert_array_equal(own.decoder, RANDOM["W_dec"])
    if config is not None:
        with pytest.raises(ValueError, match="is a transcoder by its settings; use basis=transcoder site=mlp_in"):
            read_autoencoder(path, config_beside(path))


PLACE = Place("tiny", "mlp_in", 6)


@pytest.mark.parametrize(
    ("settings", "place", "problem"),
    [
        ({"architecture": "standard"}, PLACE, "is an autoencoder by its settings; use basis=sae"),
        ({"apply_b_dec_to_input": True}, PLACE, "apply_b_dec_to_input=True is not supported for transcoders"),
        ({"normalize_activations": "layer_norm"}, PLACE, "layer_norm is not supported"),
        ({"hook_name": "blocks.4.hook_mlp_in"}, PLACE, "is a transcoder of blocks.4.hook_mlp_in, which is not a site"),
        ({"hook_name": "blocks.5.mlp.hook_in"}, PLACE, "is a transcoder of site=mlp_in layer=5"),
        ({"hook_name_out": "blocks.4.hook_resid_post"}, PLACE, "is a transcoder to blocks.4.hook_resid_post"),
        ({"hook_name_out": "blocks.5.hook_mlp_out"}, PLACE, "to blocks.5.hook_mlp_out, not to .* block 4"),
        ({"hook_name_out": "blocks.4.mlp.hook_out"}, Place("tiny", "mlp_in", 6, None, True), "before the norm that"),
        (
            {"hook_name": "blocks.4.ln2.hook_normalized"},
            Place("tiny", "mlp_in", 6, lambda _: (None, None)),
            "gain=false",
        ),
        ({"model_name": "other"}, PLACE, "is a transcoder of the model other"),
        ({}, Place("tiny", "mlp_in", 8), "is a transcoder of 6 neurons, but the site mlp_in has 8"),
    ],
    ids=[
        "kind",
        "centred",
        "normalised",
        "input",
        "layer",
        "output",
        "layer of the output",
        "norm",
        "gain",
        "model",
        "width",
    ],
)
def test_a_transcoder_that_does_not_fit_is_refused_in_one_line(tmp_path: Path, settings, place, problem) -> None:
    config = {"architecture": "transcoder", **HOOKS, **settings}
    if settings == {"architecture": "standard"}:
        config = settings
    save_sae(tmp_path / "sae.safetensors", written("SAELens", skip=False, threshold=False), config)
    with pytest.raises(ValueError, match=problem) as error:
        SAESource(str(tmp_path), transcoder=True).fetch((4,), place)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("kind", "norm"), [("gemma2", "pre_feedforward_layernorm"), ("gpt2", "ln_2")])
def test_inputs_without_the_gain_of_the_norm(tiny, tmp_path: Path, kind: str, norm: str) -> None:
    """Gemma Scope's transcoders read what the norm computes before gain and bias."""
    model, rng = tiny(kind), np.random.default_rng(1)
    own = block_modules(model.network, model.family)[1].get_submodule(norm)
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.copy_(torch.from_numpy(rng.normal(size=32)))
        x = torch.from_numpy(rng.normal(size=(20, 32)).astype(np.float32))
        read = own(x)
    centred = x - x.mean(dim=1, keepdim=True) if kind == "gpt2" else x
    plain = (centred / centred.pow(2).mean(dim=1, keepdim=True).sqrt()).numpy()
    tensors = random_sae(width=32)
    save_sae(tmp_path / "params.npz", tensors)
    place = Place("tiny", "mlp_in", 32, partial(feed_forward_norm, model))
    basis = SAESource(str(tmp_path / "params.npz"), transcoder=True).fetch((1,), place)
    np.testing.assert_allclose(basis.encode(1, read), by_hand(plain, "jumprelu", tensors), atol=2e-3)
    kept = SAESource(str(tmp_path / "params.npz"), transcoder=True, gain=True).fetch((1,), place)
    np.testing.assert_allclose(kept.encode(1, read), by_hand(read.numpy(), "jumprelu", tensors), atol=1e-4)
    assert basis.digest != kept.digest


def test_a_planted_latent_is_found() -> None:
    """A tag moves inputs along one column of the encoder, which no single neuron has."""
    rng = np.random.default_rng(2)
    tensors = random_sae(width=16, latents=40, seed=2)
    columns = tensors["W_enc"] / np.linalg.norm(tensors["W_enc"], axis=0)
    x, tags = rng.normal(size=(600, 16)).astype(np.float32), np.arange(600) % 2
    x += 3 * tags[:, None] * columns[:, 23]
    own = transcoder({**tensors, "W_enc": columns, "b_enc": np.full(40, -1.0, np.float32)})
    units = Transcoders({4: own}).stored(4, x)
    scores = Driver({4: units}, np.arange(600), 2, "mlp_in", "layer").scores(Correlation(), tags).values
    assert int(scores[1].argmax()) == 23


def transcoder(tensors: Tensors) -> Autoencoder:
    own = {name: torch.from_numpy(np.ascontiguousarray(tensor)) for name, tensor in tensors.items()}
    return Autoencoder(own["W_enc"], own["b_enc"], own["W_dec"], own["b_dec"], "relu", False)


LATENTS = {1: [2, 7], 3: [0, 4, 11]}
OUTPUTS = {"gemma2": "post_feedforward_layernorm"}
TENSORS = {layer: random_sae(width=32, latents=12, seed=layer) for layer in LATENTS}
BASIS = Transcoders({layer: transcoder(tensors) for layer, tensors in TENSORS.items()})


def condition(layers: tuple[int, ...], factor: float) -> Condition:
    change = silence if factor == 0 else scale_by(factor)
    return Condition({layer: torch.tensor(LATENTS[layer]) for layer in layers}, dict.fromkeys(layers, change), BASIS)


class ByHand:
    """Adds (f' - f) W_dec to the output of the feed-forward block, whose input gives f."""

    def __init__(self, model: LanguageModel, layers: tuple[int, ...], factor: float) -> None:
        self.handles: list[Any] = []
        for layer in layers:
            block, seen = block_modules(model.predictor.base, model.family)[layer], dict[str, torch.Tensor]()
            output = block.get_submodule(OUTPUTS.get(model.config.model_type, "mlp"))

            def read(_: Any, inputs: Any, seen: Any = seen) -> None:
                seen["x"] = inputs[0]

            def add(_: Any, __: Any, y: torch.Tensor, seen: Any = seen, layer: int = layer) -> torch.Tensor:
                own, chosen = TENSORS[layer], LATENTS[layer]
                f = by_hand(seen["x"].numpy(), "relu", own)[..., chosen]
                return y + torch.from_numpy((factor - 1) * f @ own["W_dec"][chosen]).to(y)

            self.handles += [block.mlp.register_forward_pre_hook(read), output.register_forward_hook(add)]

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2", "gpt_neox"])
def test_a_lesion_adds_rows_of_the_decoder_to_the_output(tiny, kind: str) -> None:
    model = tiny(kind)
    model.predictor.whole.double()
    encoded = Encoder(model.tokenizer, bos=1, pooling="mean")(sentences()[:2])
    spans = [(s, a, b) for s, e in enumerate(encoded) for a, b in e.reads][::5]
    words = Words(*(np.array(column) for column in zip(*spans, strict=True)))
    asked: list[tuple[tuple[int, ...], float]] = [((1, 3), 0.0), ((), 1.0), ((3,), -2.0)]
    found = Surprisal(model, "mlp_in", batch_tokens=60, pass_tokens=150)(
        encoded, words, [condition(*each) for each in asked]
    )
    for row, (layers, factor) in zip(found, asked, strict=True):
        with ByHand(model, layers, factor), torch.no_grad():
            logits = [
                model.predictor.whole(input_ids=torch.tensor([e.ids]), use_cache=False).logits[0] for e in encoded
            ]
        bits = [
            -logits[s].log_softmax(1)[torch.arange(a - 1, b), torch.tensor(encoded[s].ids[a : b + 1])].sum()
            / math.log(2)
            for s, a, b in spans
        ]
        np.testing.assert_allclose(row, torch.stack(bits), rtol=0, atol=1e-4)
    assert np.abs(found[0] - found[1]).max() > 1e-2


def test_texts_are_generated_under_lesions_of_latents(tiny) -> None:
    model, sampling, prompts = tiny(), Sampling(new_tokens=6, temperature=0.0), ("The dog", "She runs in")
    encoded = Generation(prompts, sampling, 0).encoded(model, 1)
    asked: list[tuple[tuple[int, ...], float]] = [((1, 3), 5.0), ((), 1.0)]
    texts = continuations(model, "mlp_in", [condition(*each) for each in asked], encoded, sampling, batch_tokens=1000)
    for row, (layers, factor) in zip(texts, asked, strict=True):
        with ByHand(model, layers, factor):
            assert continuations(model, "mlp_in", [condition((), 1.0)], encoded, sampling, batch_tokens=1000) == [row]
    assert texts[0] != texts[1]
