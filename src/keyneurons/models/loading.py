"""Config, tokenizer and weights of a model's folder, checked as they are loaded."""

from __future__ import annotations

import functools
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyneurons.models.weights import check_covered, check_number_formats, reading_model
from keyneurons.quiet import quiet_transformers

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

RANDOM_WEIGHTS_SEED = 0


def load_config(folder: Path) -> PreTrainedConfig:
    """The text model's config.

    Raises:
        ValueError: it cannot be read, or its sizes are impossible.
    """
    from transformers import AutoConfig

    with quiet_transformers(), reading_model(folder):
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        ).get_text_config()
        _check_config(config, folder / "config.json")
    return config


def _check_config(config: Any, path: Path) -> None:
    """Refuse sizes that no model can have.

    Raises:
        ValueError: one of them is no positive number, or the padding token has no embedding.
    """
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
        size = getattr(config, name, None)
        if type(size) is not int or size < 1:
            raise ValueError(f"{path}: {name} must be a positive number, got {size!r}")
    pad = getattr(config, "pad_token_id", None)
    if pad is not None and not 0 <= pad < config.vocab_size:
        raise ValueError(
            f"{path}: pad_token_id must lie in 0..{config.vocab_size - 1} (the vocabulary of the model), got {pad}"
        )


@functools.lru_cache(maxsize=4)
def load_tokenizer(folder: Path, digest: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder whose files have this digest; the jobs of a sweep share one, for it takes its time."""
    from transformers import AutoTokenizer

    with quiet_transformers(), reading_model(folder):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    return tokenizer


def text_model(model: Any) -> nn.Module:
    """The language model inside a model that also sees images, or the model itself."""
    text: nn.Module = getattr(model, "language_model", model)
    return text


def random_model(kind: Any, config: PreTrainedConfig, dtype: torch.dtype, folder: Path) -> Any:
    """A model of one of transformers' automatic classes with random weights, the same ones each time."""
    import torch

    with quiet_transformers(), reading_model(folder), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(RANDOM_WEIGHTS_SEED)
        return kind.from_config(config, dtype=dtype, trust_remote_code=False)


def covered_model(kind: Any, folder: Path, config: PreTrainedConfig, unread: Collection[str], **how: Any) -> Any:
    """A model from its files, every tensor of it.

    Args:
        kind: one of transformers' automatic classes.
        folder: the files.
        config: the model's config.
        unread: modules that a checkpoint may lack.
        how: further arguments of ``from_pretrained``.

    Returns:
        The model.

    Raises:
        ValueError: the weights cannot be read, or are not those of the config.
    """
    if not getattr(config, "quantization_config", None):
        check_number_formats(folder)
    with quiet_transformers(), reading_model(folder):
        model, found = kind.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # they are refused here, by name
            output_loading_info=True,
            **how,
        )
    base = model if kind.__name__ == "AutoModel" else model.base_model
    check_covered(base, found, folder, unread)
    return model
