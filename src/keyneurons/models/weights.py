"""Whether a model's weights are what its config and its digests say: nothing is initialised at random unnoticed."""

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
"""Constants that older checkpoints hold and models compute for themselves, and heads that a base model has not."""

_NAMED = 3  # tensors that an error names


@contextmanager
def reading_model(folder: Path) -> Generator[None]:
    """Say of which folder it is that a model's files cannot be read; what transformers raises is of any type.

    Raises:
        ValueError: they cannot.
        OSError: the system says so.
    """
    try:
        yield
    except ValueError as error:
        told = str(error)
        raise ValueError(told if str(folder) in told else f"the model in {folder}: {told}") from error
    except OSError as error:
        if str(folder) in str(error):
            raise
        raise OSError(f"the model in {folder}: {error}") from error
    except Exception as error:  # e.g. the KeyError of an unknown activation function
        told = str(error).strip() or repr(error)
        raise ValueError(f"the model in {folder} cannot be read ({type(error).__name__}: {told})") from error


def check_covered(base: nn.Module, found: Mapping[str, Any], folder: Path, unread: Collection[str]) -> None:
    """Refuse weights that leave a tensor of the model without a value, or have one that the model has no place for.

    Args:
        base: the base model that was loaded, perhaps within another with a head.
        found: transformers' loading info.
        folder: where the weights are.
        unread: modules of the base model that nothing passes through on its way to a site.

    Raises:
        ValueError: tensors are missing, unexpected, or of another size; a few are named.
    """
    prefix = f"{getattr(base, 'base_model_prefix', '')}."
    children = {name for name, _ in base.named_children()}
    outer = {name: name.removeprefix(prefix).partition(".")[0] for name in _names(found)}
    troubles = []
    if mismatched := sorted(found["mismatched_keys"]):
        sizes = [f"{name} {_size(there)} (config.json: {_size(wanted)})" for name, there, wanted in mismatched]
        troubles.append(_told("of another size", sizes))
    if missing := sorted(name for name in found["missing_keys"] if outer[name] not in unread):
        troubles.append(_told("missing", missing))
    inside = (name for name in found["unexpected_keys"] if outer[name] in children or missing)
    if unexpected := sorted(name for name in inside if not IGNORED.search(name)):
        troubles.append(_told("unexpected", unexpected))
    if found["error_msgs"]:
        troubles.append(" ".join(map(str, found["error_msgs"])))
    if troubles:
        raise ValueError(f"the weights in {folder} are not those of its config.json: {'; '.join(troubles)}")


def check_number_formats(folder: Path) -> None:
    """Refuse weights that stand for others: integers without the scales that make numbers of them.

    Raises:
        ValueError: a tensor is of such a format, or a file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                formats = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        other = {name: found for name, found in formats.items() if found not in FORMATS and not IGNORED.search(name)}
        for name, found in sorted(other.items()):
            raise ValueError(
                f"{path}: {name} is {found}; without a quantization_config weights are {', '.join(FORMATS)}"
            )


def check_undamaged(digests: Mapping[Path, str], remedy: str) -> None:
    """Refuse files that have changed since their digests were taken.

    Args:
        digests: SHA-256 by file.
        remedy: what the user can do about it.

    Raises:
        ValueError: one of them has.
    """
    for path, expected in digests.items():
        if (digest := file_digest(path)) != expected:
            raise ValueError(f"{path} is damaged: its sha256 is {digest}, not {expected}; {remedy}")


def _names(found: Mapping[str, Any]) -> set[str]:
    return {*found["missing_keys"], *found["unexpected_keys"]}


def _told(what: str, names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{what}: {', '.join(names[:_NAMED])}{more}"


def _size(shape: Any) -> str:
    return "x".join(map(str, shape))
