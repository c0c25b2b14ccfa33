"""Settings of sparse autoencoders and transcoders: kind, activation, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keyneurons.basis.sae import Activation

CONFIGS = ("cfg.json", "config.json")
"""Names of the file with the settings, beside the tensors."""

TRANSCODERS = {
    "transcoder": "standard",
    "skip_transcoder": "standard",
    "jumprelu_transcoder": "jumprelu",
    "jumprelu_skip_transcoder": "jumprelu",
}
"""Architectures of SAELens with those of autoencoders that have the same encoder."""


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a file; those in its section ``metadata`` are at the top as well.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path} must be a JSON object, got {type(settings).__name__}")
    metadata = settings.get("metadata")
    return {**(metadata if isinstance(metadata, dict) else {}), **settings}


def check_settings(path: Path, settings: Mapping[str, Any], *, transcoder: bool) -> None:
    """Check that a file is of the kind wanted, and that no setting changes its input or output.

    Raises:
        ValueError: it is of the other kind, or a setting does.
    """
    if settings and (is_one := _of_transcoder(settings)) != transcoder:
        kind, basis = ("a transcoder", "transcoder site=mlp_in") if is_one else ("an autoencoder", "sae")
        raise ValueError(f"{path} is {kind} by its settings; use basis={basis}")
    if transcoder and settings.get("apply_b_dec_to_input"):
        raise ValueError(f"{path}: apply_b_dec_to_input=True is not supported for transcoders")
    plain: dict[str, set[Any]] = {
        "normalize_activations": {"none", None},
        "reshape_activations": {"none", "hook_z", None},
        "finetuning_scaling_factor": {False, None},
        "rescale_acts_by_decoder_norm": {False, None},
        "transcode": {transcoder, None},
        "skip_connection": {transcoder, False, None},
        "affine_connection": {transcoder, False, None},
        "hook_head_index": {None},
        "multi_topk": {False, None},
        "signed": {False, None},
        "type": {"transcoder" if transcoder else "sae", None},
    }
    for name, legal in plain.items():
        if (value := settings.get(name)) not in legal:
            raise ValueError(f"{path}: {name}={value} is not supported")


def hooks_of(settings: Mapping[str, Any]) -> tuple[Any, Any]:
    """The names of the places that are read and reconstructed; None where the settings lack them.

    Names of modules of transformers precede those of TransformerLens.
    """
    read = ("hf_hook_name", "hook_name", "hf_hook_point_in")
    reconstructed = ("hf_hook_name_out", "hook_name_out", "hf_hook_point_out")
    first, second = (next(filter(None, map(settings.get, names)), None) for names in (read, reconstructed))
    return first, second


def _of_transcoder(settings: Mapping[str, Any]) -> bool:
    read, reconstructed = hooks_of(settings)
    return (
        str(settings.get("architecture")).endswith("transcoder")
        or settings.get("type") == "transcoder"
        or bool(settings.get("transcode"))
        or reconstructed not in {None, read}
    )


def activation_of(
    path: Path, settings: Mapping[str, Any], *, sparsify: bool, thresholded: bool
) -> tuple[Activation, int | None]:
    """The activation function, and k of top-k.

    Raises:
        ValueError: it is unknown, or the settings are missing.
    """
    if not settings:
        if thresholded:
            return "jumprelu", None
        raise ValueError(f"{path} needs its settings beside it: {' or '.join(CONFIGS)}")
    if sparsify:
        name = settings.get("activation", "topk")
        keywords = settings
    else:
        name = settings.get("architecture", "jumprelu" if thresholded else "standard")
        keywords = settings.get("activation_fn_kwargs") or settings
        name = TRANSCODERS.get(name, name)
        if name == "standard":
            name = settings.get("activation_fn_str", settings.get("activation_fn", "relu"))
    name = {"jump_relu": "jumprelu", "standard": "relu"}.get(name, name)
    if name == "jumprelu" and thresholded:
        return "jumprelu", None
    if name == "relu" and not thresholded:
        return "relu", None
    k = keywords.get("k")
    if name == "topk" and isinstance(k, int) and k > 0:
        return "topk", k
    problem = {"jumprelu": "needs the tensor threshold", "topk": f"needs k, a positive integer, got {k!r}"}
    raise ValueError(
        f"{path}: architecture {name} {problem.get(name, 'is not supported; legal: relu, jumprelu, topk')}"
    )
