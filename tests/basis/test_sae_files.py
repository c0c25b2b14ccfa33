"""Files of sparse autoencoders in the public layouts, against an encoding by hand; damaged ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from autoencoders import Tensors, jumprelu, random_sae, relu, save_sae, topk, without_threshold

from keyneurons.basis.sae_files import config_beside, read_autoencoder
from keyneurons.basis.sae_source import Place, SAESource

X = np.random.default_rng(7).normal(size=(50, 6)).astype(np.float32)
NAMES = {"W_enc": "w_enc", "W_dec": "w_dec"}


def small(tensors: Tensors) -> Tensors:
    return {NAMES.get(name, name): tensor for name, tensor in tensors.items()}


def of_sparsify(tensors: Tensors) -> Tensors:
    return {
        "encoder.weight": tensors["W_enc"].T,
        "encoder.bias": tensors["b_enc"],
        "W_dec": tensors["W_dec"],
        "b_dec": tensors["b_dec"],
    }


Case = tuple[str, Callable[[Tensors], Tensors], dict[str, Any] | None, Callable[[Tensors], np.ndarray]]
LAYOUTS: dict[str, Case] = {
    "SAELens standard": (
        "sae_weights.safetensors",
        without_threshold,
        {"architecture": "standard", "apply_b_dec_to_input": True, "normalize_activations": "none"},
        lambda tensors: relu(X, tensors),
    ),
    "SAELens uncentred": (
        "sae_weights.safetensors",
        without_threshold,
        {"architecture": "standard", "activation_fn_str": "relu", "apply_b_dec_to_input": False},
        lambda tensors: relu(X, tensors, centred=False),
    ),
    "SAELens jumprelu": (
        "sae_weights.safetensors",
        dict,
        {"architecture": "jumprelu", "apply_b_dec_to_input": True},
        lambda tensors: jumprelu(X, tensors, centred=True),
    ),
    "SAELens topk": (
        "sae_weights.safetensors",
        without_threshold,
        {"architecture": "topk", "k": 4, "apply_b_dec_to_input": True, "metadata": {"model_name": "tiny"}},
        lambda tensors: topk(X, tensors, 4),
    ),
    "SAELens topk of version 3": (
        "sae_weights.safetensors",
        without_threshold,
        {"architecture": "standard", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 2}},
        lambda tensors: topk(X, tensors, 2),
    ),
    "Gemma Scope": ("params.npz", dict, None, lambda tensors: jumprelu(X, tensors)),
    "Gemma Scope 2": (
        "params.safetensors",
        small,
        {"architecture": "jump_relu", "type": "sae", "affine_connection": False, "width": 9},
        lambda tensors: jumprelu(X, tensors),
    ),
    "sparsify": ("sae.safetensors", of_sparsify, {"k": 3, "num_latents": 9}, lambda tensors: topk(X, tensors, 3)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_read_as_numpy_computes_it(tmp_path: Path, layout: str) -> None:
    file, written, config, expected = LAYOUTS[layout]
    tensors = random_sae()
    path = save_sae(tmp_path / file, written(tensors), config)
    own, _ = read_autoencoder(path, config_beside(path))
    encoded = own.encode(torch.from_numpy(X))
    np.testing.assert_allclose(encoded, expected(tensors), atol=1e-5)
    some = torch.tensor([8, 0, 3])
    np.testing.assert_allclose(own.encode(torch.from_numpy(X), some), encoded[:, some], atol=1e-6)
    np.testing.assert_array_equal(own.decoder, tensors["W_dec"])
    assert (encoded == 0).any()


def test_the_digest_is_of_tensors_and_settings(tmp_path: Path) -> None:
    plain = without_threshold(random_sae())
    settings = {"architecture": "topk", "k": 4}
    digests = [
        read_autoencoder(
            save_sae(tmp_path / f"{i}" / "a.safetensors", tensors, config), tmp_path / f"{i}" / "cfg.json"
        )[0].digest
        for i, (tensors, config) in enumerate([
            (plain, settings),
            (plain, {**settings, "comment": "x"}),
            (plain, {**settings, "k": 5}),
            ({**plain, "b_enc": plain["b_enc"] + 1}, settings),
        ])
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


STANDARD = {"architecture": "standard"}
DAMAGED: dict[str, tuple[Callable[[Tensors], Tensors], dict[str, Any] | None, str]] = {
    "a missing tensor": (lambda t: {n: t[n] for n in ("W_enc", "W_dec", "b_dec")}, STANDARD, "lacks the tensors b_enc"),
    "an unknown layout": (lambda _: {"weights": X}, STANDARD, "is of unknown layout, with tensors weights"),
    "a gated autoencoder": (lambda t: {**without_threshold(t), "b_gate": X}, STANDARD, "has tensors b_gate"),
    "a gated architecture": (without_threshold, {"architecture": "gated"}, "architecture gated is not supported"),
    "no settings": (without_threshold, None, "needs its settings beside it: cfg.json or config.json"),
    "no threshold": (without_threshold, {"architecture": "jumprelu"}, "jumprelu needs the tensor threshold"),
    "no k": (without_threshold, {"architecture": "topk"}, "topk needs k, a positive integer, got None"),
    "a large k": (without_threshold, {"architecture": "topk", "k": 10}, "k=10 exceeds the 9 latents"),
    "normalised": (
        without_threshold,
        {**STANDARD, "normalize_activations": "layer_norm"},
        "layer_norm is not supported",
    ),
    "a transcoder": (
        dict,
        {"hf_hook_point_in": "model.layers.1.a", "hf_hook_point_out": "model.layers.1.b"},
        "is a transcoder by its settings; use basis=transcoder site=mlp_in",
    ),
    "not finite": (
        lambda t: {**without_threshold(t), "b_enc": t["b_enc"] / 0},
        STANDARD,
        "b_enc has values that are not finite",
    ),
    "of other shapes": (
        lambda t: {**without_threshold(t), "W_dec": t["W_dec"].T},
        STANDARD,
        r"W_dec must have the shape \(9, 6\), got \(6, 9\)",
    ),
}


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("fault", DAMAGED)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, fault: str) -> None:
    written, config, problem = DAMAGED[fault]
    path = save_sae(tmp_path / "sae.safetensors", written(random_sae()), config)
    with pytest.raises(ValueError, match=problem) as error:
        read_autoencoder(path, config_beside(path))
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["sae.safetensors", "params.npz"])
def test_what_is_no_file_of_tensors_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=f"{name} cannot be read as tensors"):
        read_autoencoder(tmp_path / name, None)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "params.npz", W_enc=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="cannot be read as tensors"):
        read_autoencoder(tmp_path / "params.npz", None)


PLACE = Place("someone/tiny", "residual", 6)


def source(tmp_path: Path, settings: dict[str, Any], **options: Any) -> SAESource:
    save_sae(tmp_path / "sae.safetensors", without_threshold(random_sae()), {**STANDARD, **settings})
    return SAESource(str(tmp_path), **options)


@pytest.mark.parametrize(
    ("settings", "place", "problem"),
    [
        ({}, Place("tiny", "mlp", 8), "is an autoencoder of 6 neurons, but the site mlp has 8"),
        ({"model_name": "gpt2-small"}, PLACE, "of the model gpt2-small, this run reads someone/tiny; basis.any_model"),
        ({"hook_name": "blocks.4.hook_mlp_out"}, PLACE, "blocks.4.hook_mlp_out, which is not a site"),
        (
            {"hook_name": "blocks.5.hook_resid_post"},
            PLACE,
            "site=residual layer=5 .*this run reads site=residual layer=4",
        ),
        ({"metadata": {"hook_name": "blocks.4.mlp.hook_post"}}, PLACE, "of site=mlp layer=4"),
        ({"hf_hook_point_in": "model.layers.3.output"}, PLACE, "of site=residual layer=3"),
    ],
    ids=["width", "model", "hook", "layer", "site", "layer of Gemma Scope 2"],
)
def test_an_autoencoder_of_another_place_is_refused(tmp_path: Path, settings, place, problem) -> None:
    with pytest.raises(ValueError, match=problem):
        source(tmp_path, settings).fetch((4,), place)


@pytest.mark.parametrize(
    "settings",
    [
        {"model_name": "tiny", "hook_name": "blocks.4.hook_resid_post"},
        {"metadata": {"model_name": "Tiny", "hook_name": "blocks.5.hook_resid_pre"}},
        {"hf_hook_point_in": "model.layers.4.output", "hf_hook_point_out": "model.layers.4.output"},
    ],
    ids=["after", "before the next block", "Gemma Scope 2"],
)
def test_an_autoencoder_of_this_place_is_read(tmp_path: Path, settings) -> None:
    assert source(tmp_path, settings).fetch((4,), PLACE).units(6) == 9


def test_another_model_is_allowed_on_request(tmp_path: Path) -> None:
    assert source(tmp_path, {"model_name": "other"}, any_model=True).fetch((4,), PLACE).units(6) == 9


def test_files_of_several_layers(tmp_path: Path) -> None:
    for layer in (1, 2):
        hook = {"hook_name": f"blocks.{layer}.hook_resid_post"}
        tensors = without_threshold(random_sae(seed=layer))
        save_sae(tmp_path / f"layer_{layer}" / "sae.safetensors", tensors, {**STANDARD, **hook})
    named = SAESource(f"{tmp_path}/layer_{{layer}}")
    both = named.fetch((1, 2), PLACE)
    np.testing.assert_array_equal(both.by_layer[2].bias, random_sae(seed=2)["b_enc"])
    assert both.digest != named.fetch((1,), PLACE).digest
    with pytest.raises(ValueError, match="is of one layer, but 2 layers are read"):
        SAESource(f"{tmp_path}/layer_1").fetch((1, 2), PLACE)
    with pytest.raises(FileNotFoundError, match=r"layer_3: no such file"):
        named.fetch((3,), PLACE)
    save_sae(tmp_path / "layer_1" / "other.safetensors", without_threshold(random_sae()))
    with pytest.raises(ValueError, match="must have one file of tensors"):
        named.fetch((1,), PLACE)


def test_without_a_network_the_hub_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a/params.npz of some/sae \(revision main\) is not in the hub cache"):
        SAESource("a/params.npz", id="some/sae").fetch((4,), PLACE)


def test_a_file_of_the_hub_comes_with_its_settings_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_sae(tmp_path / "layer_4" / "sae.safetensors", without_threshold(random_sae()), STANDARD)
    asked = []

    def snapshot(repository: str, *, revision: str, allow_patterns: list[str]) -> str:
        asked.append((repository, revision, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    named = SAESource("layer_{layer}/sae.safetensors", id="some/sae", revision="v1")
    assert named.fetch((4,), PLACE).units(6) == 9
    patterns = [f"layer_4/{name}" for name in ("sae.safetensors", "cfg.json", "config.json")]
    assert asked == [("some/sae", "v1", patterns)]
    with pytest.raises(FileNotFoundError, match=r"some/sae \(revision v1\) has no file layer_5/sae.safetensors"):
        named.fetch((5,), PLACE)
