"""Settings of sparse autoencoders: which activation they have, and which are not supported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keyneurons.basis.sae import Activation

CONFIGS = ("cfg.json", "config.json")
"""Names of the file with the settings, beside the tensors."""


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


def check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Check that no setting changes the input or the output in other ways.

    Raises:
        ValueError: one does.
    """
    plain: dict[str, set[Any]] = {
        "normalize_activations": {"none", None},
        "reshape_activations": {"none", "hook_z", None},
        "finetuning_scaling_factor": {False, None},
        "rescale_acts_by_decoder_norm": {False, None},
        "transcode": {False, None},
        "skip_connection": {False, None},
        "affine_connection": {False, None},
        "hook_head_index": {None},
        "multi_topk": {False, None},
        "signed": {False, None},
        "type": {"sae", None},
    }
    for name, legal in plain.items():
        if (value := settings.get(name)) not in legal:
            raise ValueError(f"{path}: {name}={value} is not supported")
    ends = settings.get("hf_hook_point_in"), settings.get("hf_hook_point_out")
    if None not in ends and ends[0] != ends[1]:
        raise ValueError(f"{path} is a transcoder from {ends[0]} to {ends[1]}: not supported")


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
