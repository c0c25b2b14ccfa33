"""Files of sparse autoencoders and transcoders by their tensor names."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from keyneurons.atomic_files import check_regular
from keyneurons.basis.sae import Autoencoder
from keyneurons.basis.sae_settings import CONFIGS, activation_of, check_settings, read_settings
from keyneurons.digests import file_digest, json_digest


@dataclass(frozen=True)
class Layout:
    """A layout of tensors: their names for encoder, bias, decoder and its bias.

    The encoder is ``[neurons, latents]`` unless ``transposed``. A ``threshold`` may be absent, and
    so may ``skip``, what transcoders multiply their input by to add it to the output.
    """

    name: str
    tensors: tuple[str, str, str, str]
    skip: str
    transposed: bool = False
    threshold: str | None = None

    def names(self, *, transcoder: bool) -> set[str]:
        """All names that a file may have."""
        own = {*self.tensors, *([] if self.threshold is None else [self.threshold])}
        return {*own, self.skip} if transcoder else own


LAYOUTS = (
    Layout("SAELens, Gemma Scope", ("W_enc", "b_enc", "W_dec", "b_dec"), "W_skip", threshold="threshold"),
    Layout("Gemma Scope 2", ("w_enc", "b_enc", "w_dec", "b_dec"), "affine_skip_connection", threshold="threshold"),
    Layout("sparsify", ("encoder.weight", "encoder.bias", "W_dec", "b_dec"), "W_skip", transposed=True),
)


def read_autoencoder(
    path: Path, config: Path | None, *, transcoder: bool = False
) -> tuple[Autoencoder, Mapping[str, Any]]:
    """Read a sparse autoencoder, or a transcoder.

    Args:
        path: tensors, as safetensors or npz.
        config: its settings; None for none, which only files with thresholds allow.
        transcoder: whether it is a transcoder, whose decoder has another place's neurons.

    Returns:
        The autoencoder and its settings.

    Raises:
        ValueError: the file is damaged, of another kind or layout, or has settings that are not
            supported.
    """
    settings = {} if config is None else read_settings(config)
    tensors = _tensors(path)
    check_settings(path, settings, transcoder=transcoder)
    layout = _layout(path, tensors, transcoder=transcoder)
    threshold = None if layout.threshold is None else tensors.get(layout.threshold)
    activation, k = activation_of(path, settings, sparsify=layout.transposed, thresholded=threshold is not None)
    _check_tensors(path, tensors, layout, k)
    centred = not transcoder and bool(settings.get("apply_b_dec_to_input", threshold is None))
    encoder, bias, decoder, decoder_bias = (tensors[name].float() for name in layout.tensors)
    own = Autoencoder(
        encoder.T.contiguous() if layout.transposed else encoder,
        bias,
        decoder,
        decoder_bias,
        activation,
        centred,
        None if threshold is None else threshold.float(),
        k,
        json_digest([file_digest(path), layout.name, activation, k, centred]),
    )
    return own, settings


def config_beside(path: Path) -> Path | None:
    """The settings beside a file of tensors; None without any."""
    return next((path.parent / name for name in CONFIGS if (path.parent / name).is_file()), None)


def tensors_in(folder: Path) -> Path:
    """The file of tensors in a folder.

    Raises:
        ValueError: there is none, or several.
    """
    files = [file for pattern in ("*.safetensors", "*.npz") for file in sorted(folder.glob(pattern))]
    own = [file for file in files if file.stem not in {"sparsity", "examples"}]
    if len(own) != 1:
        names = ", ".join(file.name for file in own) or "none"
        raise ValueError(f"basis.file: {folder} must have one file of tensors (safetensors or npz), got {names}")
    return own[0]


def _tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file; nothing is unpickled.

    Raises:
        ValueError: the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        check_regular(path)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: torch.from_numpy(np.asarray(file[name])) for name in file.files}
        return load_file(path)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read as tensors of a sparse autoencoder: {error}") from error


def _layout(path: Path, tensors: Mapping[str, Tensor], *, transcoder: bool) -> Layout:
    """The layout whose names a file has.

    Raises:
        ValueError: the file has other tensors, or lacks some.
    """
    layout = max(LAYOUTS, key=lambda each: len(tensors.keys() & set(each.tensors)))
    missing = [name for name in layout.tensors if name not in tensors]
    if len(missing) > 2:
        known = "; ".join(f"{each.name} ({', '.join(each.tensors)})" for each in LAYOUTS)
        raise ValueError(f"{path} is of unknown layout, with tensors {_some(tensors)}; known are {known}")
    if missing:
        raise ValueError(f"{path} lacks the tensors {', '.join(missing)} of the layout {layout.name}")
    if extra := sorted(tensors.keys() - layout.names(transcoder=transcoder)):
        basis = "transcoder" if transcoder else "sae"
        raise ValueError(f"{path} has tensors {_some(extra)}, which basis={basis} does not support")
    return layout


def _some(names: Any) -> str:
    return ", ".join(sorted(names)[:6])


def _check_tensors(path: Path, tensors: Mapping[str, Tensor], layout: Layout, k: int | None) -> None:
    """Check shapes and values.

    Raises:
        ValueError: shapes do not fit each other, k exceeds the latents, or a value is not finite.
    """
    encoder, bias, decoder, decoder_bias = layout.tensors
    shape = tuple(tensors[encoder].shape)
    if len(shape) != 2:
        raise ValueError(f"{path}: {encoder} must be a matrix, got the shape {shape}")
    width, latents = reversed(shape) if layout.transposed else shape
    expected = {bias: (latents,), decoder: (latents, width), decoder_bias: (width,), layout.threshold: (latents,)}
    expected[layout.skip] = (width, width)
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != expected.get(name, shape):
            raise ValueError(f"{path}: {name} must have the shape {expected[name]}, got {tuple(tensor.shape)}")
        if not (tensor.is_floating_point() and tensor.isfinite().all()):
            raise ValueError(f"{path}: {name} has values that are not finite floating-point numbers")
    if k is not None and k > latents:
        raise ValueError(f"{path}: k={k} exceeds the {latents} latents")
