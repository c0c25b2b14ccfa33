"""Checks of a model's weights against config and digests: no tensor is silently left random."""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from keyneurons.digests import file_digest

FORMATS = ("F64", "F32", "F16", "BF16")
IGNORED = re.compile(
    r"(attn|attention)\.(bias|masked_bias)$|rotary_emb\.inv_freq$|position_ids$|^(lm_head|embed_out|cls|score)\."
)
"""Tensors that base models do not load: constants in older checkpoints, and heads."""

_MOST_NAMES = 3  # tensors listed in an error


@contextmanager
def reading_model(folder: Path) -> Generator[None]:
    """Add the model's folder to errors about its files; transformers raises errors of any type.

    Raises:
        ValueError: the files cannot be read.
        OSError: the operating system reports an error.
    """
    try:
        yield
    except ValueError as error:
        message = str(error)
        raise ValueError(message if str(folder) in message else f"the model in {folder}: {message}") from error
    except OSError as error:
        if str(folder) in str(error):
            raise
        raise OSError(f"the model in {folder}: {error}") from error
    except Exception as error:  # e.g. the KeyError of an unknown activation function
        message = str(error).strip() or repr(error)
        raise ValueError(f"the model in {folder} cannot be read ({type(error).__name__}: {message})") from error


def check_covered(base: nn.Module, loading_info: Mapping[str, Any], folder: Path, unread: Collection[str]) -> None:
    """Check that the weights match the tensors of a model one to one.

    Args:
        base: the loaded base model, possibly inside a model with a head.
        loading_info: transformers' loading info.
        folder: folder of the weights.
        unread: modules of the base model that no site depends on.

    Raises:
        ValueError: tensors are missing, unexpected, or of another shape; the message lists a few.
    """
    prefix = f"{getattr(base, 'base_model_prefix', '')}."
    children = {name for name, _ in base.named_children()}
    outer = {name: name.removeprefix(prefix).partition(".")[0] for name in _names(loading_info)}
    problems = []
    if mismatched := sorted(loading_info["mismatched_keys"]):
        shapes = [f"{name} {_shape(actual)} (config.json: {_shape(own)})" for name, actual, own in mismatched]
        problems.append(_problem("of another shape", shapes))
    if missing := sorted(name for name in loading_info["missing_keys"] if outer[name] not in unread):
        problems.append(_problem("missing", missing))
    inside = (name for name in loading_info["unexpected_keys"] if outer[name] in children or missing)
    if unexpected := sorted(name for name in inside if not IGNORED.search(name)):
        problems.append(_problem("unexpected", unexpected))
    if loading_info["error_msgs"]:
        problems.append(" ".join(map(str, loading_info["error_msgs"])))
    if problems:
        raise ValueError(f"the weights in {folder} do not match its config.json: {'; '.join(problems)}")


def check_number_formats(folder: Path) -> None:
    """Check that all weights are floating-point numbers, not quantised integers without scales.

    Raises:
        ValueError: a tensor has another format, or a file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                formats = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 (no dict)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        other = {name: dtype for name, dtype in formats.items() if dtype not in FORMATS and not IGNORED.search(name)}
        for name, dtype in sorted(other.items()):
            raise ValueError(
                f"{path}: {name} is {dtype}; without a quantization_config weights must be {', '.join(FORMATS)}"
            )


def check_undamaged(digests: Mapping[Path, str], remedy: str) -> None:
    """Check that files still have their recorded digests.

    Args:
        digests: SHA-256 by file.
        remedy: advice that ends the error message.

    Raises:
        ValueError: a file has another digest.
    """
    for path, expected in digests.items():
        if (digest := file_digest(path)) != expected:
            raise ValueError(f"{path} is damaged: its sha256 is {digest}, not {expected}; {remedy}")


def _names(loading_info: Mapping[str, Any]) -> set[str]:
    return {*loading_info["missing_keys"], *loading_info["unexpected_keys"]}


def _problem(kind: str, names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{kind}: {', '.join(names[:_MOST_NAMES])}{more}"


def _shape(shape: Any) -> str:
    return "x".join(map(str, shape))
