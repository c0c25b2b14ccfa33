"""Train a small top-k sparse autoencoder on the cached activations of every layer that is read.

Run ``python examples/train_small_sae.py --folder saes site=residual layer=[9,19] dataset=...``. The
overrides are those of ``keyneurons``; activations of train and dev words come from the cache or go
into it. A few minutes a layer on two cores give ``saes/layer_9/sae_weights.safetensors`` and
``cfg.json`` in the layout of SAELens, and an option for sweeps beside other bases::

    keyneurons basis=sae basis.file=saes/layer_9 site=residual layer=9
    keyneurons --config-dir saes/conf -m basis=neurons,small_sae site=residual layer=9,19

Latents of so small an autoencoder are crude: it sees one treebank, where published ones
see billions of tokens. What it explains of the variance on dev words is printed.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

HOOKS = {"residual": "hook_resid_post", "mlp": "mlp.hook_post", "attention": "attn.hook_z"}
OUTLIER = 10.0  # words of so many times the median norm would dominate the loss


@dataclass(frozen=True)
class Settings:
    """Size of the autoencoder and of its training."""

    latents: int
    k: int
    steps: int
    batch: int
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class Trained:
    """Tensors by the names of SAELens, and the shares of variance explained and of dead latents."""

    tensors: dict[str, Tensor]
    explained: float
    dead: float


def latents_of(x: Tensor, encoder: Tensor, bias: Tensor, k: int) -> Tensor:
    """The k largest latents of every word; all others are 0."""
    largest = torch.relu(x @ encoder + bias).topk(k, dim=1)
    return torch.zeros(len(x), encoder.shape[1]).scatter_(1, largest.indices, largest.values)


def train(train_words: Tensor, dev_words: Tensor, settings: Settings, title: str) -> Trained:
    """Train an autoencoder; inputs are centred and scaled, which the saved weights include."""
    generator = torch.Generator().manual_seed(settings.seed)
    norms = (train_words - train_words.mean(dim=0)).norm(dim=1)
    kept = train_words[norms <= OUTLIER * norms.median()]
    mean = kept.mean(dim=0)
    scale = float((kept - mean).square().mean().sqrt())
    x = (kept - mean) / scale
    first = torch.randn(settings.latents, x.shape[1], generator=generator)
    decoder = torch.nn.Parameter(torch.nn.functional.normalize(first, dim=1))
    encoder = torch.nn.Parameter(decoder.detach().T.clone())
    bias, offset = (torch.nn.Parameter(torch.zeros(n)) for n in (settings.latents, x.shape[1]))
    optimizer = torch.optim.Adam([encoder, bias, decoder, offset], lr=settings.learning_rate)
    used = torch.zeros(settings.latents, dtype=torch.bool)
    for step in tqdm(range(settings.steps), desc=title):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, (settings.steps - step) / (0.2 * settings.steps))
        batch = x[torch.randint(len(x), (settings.batch,), generator=generator)]
        latents = latents_of(batch - offset, encoder, bias, settings.k)
        loss = (latents @ decoder + offset - batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            decoder /= decoder.norm(dim=1, keepdim=True)
            if step >= settings.steps // 2:
                used |= (latents > 0).any(dim=0)
    tensors = {
        "W_enc": encoder.detach() / scale,
        "b_enc": bias.detach(),
        "W_dec": decoder.detach() * scale,
        "b_dec": mean + scale * offset.detach(),
    }
    return Trained(tensors, explained(dev_words, tensors, settings.k), float((~used).float().mean()))


def explained(words: Tensor, tensors: dict[str, Tensor], k: int) -> float:
    """Share of the variance of words that the autoencoder explains."""
    latents = latents_of(words - tensors["b_dec"], tensors["W_enc"], tensors["b_enc"], k)
    rest = (words - latents @ tensors["W_dec"] - tensors["b_dec"]).double().square().sum()
    return 1 - float(rest / (words - words.mean(dim=0)).double().square().sum())


def save(folder: Path, trained: Trained, settings: Settings, model: str, hook: str) -> None:
    """Write an autoencoder in the layout of SAELens."""
    folder.mkdir(parents=True, exist_ok=True)
    width = len(trained.tensors["b_dec"])
    config: dict[str, Any] = {
        "architecture": "topk",
        "k": settings.k,
        "d_in": width,
        "d_sae": settings.latents,
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "model_name": model,
        "hook_name": hook,
        "seed": settings.seed,
        "steps": settings.steps,
        "explained_on_dev": trained.explained,
    }
    save_file(
        {name: tensor.contiguous() for name, tensor in trained.tensors.items()}, folder / "sae_weights.safetensors"
    )
    (folder / "cfg.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def save_option(folder: Path) -> None:
    """Write the option ``basis=small_sae`` for ``--config-dir``."""
    path = folder / "conf" / "basis" / "small_sae.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    place = json.dumps(f"{folder.absolute()}/layer_{{layer}}")
    path.write_text(f"defaults:\n  - sae\n  - _self_\n\nfile: {place}\n", encoding="utf-8")


def main() -> None:
    """Train an autoencoder of every layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="overrides of keyneurons: layer=9 site=residual dataset=...")
    parser.add_argument("--folder", type=Path, default=Path("saes"), help="folder of the autoencoders")
    parser.add_argument("--latents", type=int, default=2304)
    parser.add_argument("--k", type=int, default=32, help="latents that are active on a word")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=1024, help="words of a step")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args())
    overrides, folder = options.pop("overrides"), options.pop("folder")
    settings = Settings(**options)

    from keyneurons.build.dataset import build_dataset
    from keyneurons.build.reader import build_reader
    from keyneurons.config.compose import checked_with_choices

    config, _ = checked_with_choices(overrides)
    read = build_reader(config).of_neurons()
    if config.site not in HOOKS:
        parser.error(f"site must be one of {', '.join(HOOKS)}, got {config.site}")
    treebank = build_dataset(config.dataset, config.cache.expanduser(), config.seed).load(read)
    splits = {split: read(treebank.splits[split], split) for split in ("train", "dev")}
    for layer in read.layers:
        words = {split: torch.from_numpy(np.array(arrays[layer])).float() for split, arrays in splits.items()}
        if settings.k > settings.latents or math.prod(words["train"].shape) == 0:
            parser.error(f"k must not exceed the {settings.latents} latents, and there must be train words")
        trained = train(words["train"], words["dev"], settings, f"layer {layer}")
        hook = f"blocks.{layer}.{HOOKS[config.site]}"
        save(folder / f"layer_{layer}", trained, settings, read.model.files.id, hook)
        print(
            f"layer {layer}: {trained.explained:.3f} of the variance on dev words, {trained.dead:.3f} of latents dead"
        )
    save_option(folder)


if __name__ == "__main__":
    main()
