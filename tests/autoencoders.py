"""Small sparse autoencoders in the public layouts, and their encoding by numpy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

Tensors = dict[str, np.ndarray]


def random_sae(width: int = 6, latents: int = 9, seed: int = 0) -> Tensors:
    """Tensors by the names of SAELens, with a threshold."""
    rng = np.random.default_rng(seed)
    shapes = {"W_enc": (width, latents), "b_enc": (latents,), "W_dec": (latents, width), "b_dec": (width,)}
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return {**tensors, "threshold": rng.uniform(0.5, 1.5, latents).astype(np.float32)}


def without_threshold(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name != "threshold"}


def save_sae(path: Path, tensors: Tensors, config: dict[str, Any] | None = None, name: str = "cfg.json") -> Path:
    """Write tensors, and settings beside them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        np.savez(path, **tensors)
    else:
        save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, path)
    if config is not None:
        (path.parent / name).write_text(json.dumps(config))
    return path


def relu(x: np.ndarray, tensors: Tensors, *, centred: bool = True) -> np.ndarray:
    return np.maximum(before(x, tensors, centred=centred), 0)


def jumprelu(x: np.ndarray, tensors: Tensors, *, centred: bool = False) -> np.ndarray:
    values = before(x, tensors, centred=centred)
    return np.where(values > tensors["threshold"], np.maximum(values, 0), 0)


def topk(x: np.ndarray, tensors: Tensors, k: int) -> np.ndarray:
    values = np.maximum(before(x, tensors, centred=True), 0)
    kept = np.zeros_like(values)
    for row, own in zip(kept, values, strict=True):
        strongest = np.argsort(-own)[:k]
        row[strongest] = own[strongest]
    return kept


def before(x: np.ndarray, tensors: Tensors, *, centred: bool) -> np.ndarray:
    return (x - centred * tensors["b_dec"]) @ tensors["W_enc"] + tensors["b_enc"]
