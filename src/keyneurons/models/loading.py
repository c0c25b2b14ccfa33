"""Loading and checking config, tokenizer and weights of a model folder."""

from __future__ import annotations

import functools
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyneurons.models.weights import check_covered, check_number_formats, reading_model
from keyneurons.quiet import quiet_transformers

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase


def load_config(folder: Path) -> PreTrainedConfig:
    """The text model's config.

    Raises:
        ValueError: the config cannot be read, or its sizes are invalid.
    """
    from transformers import AutoConfig

    with quiet_transformers(), reading_model(folder):
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        ).get_text_config()
        _check_config(config, folder / "config.json")
    return config


def _check_config(config: Any, path: Path) -> None:
    """Check the sizes in a config.

    Raises:
        ValueError: a size is not a positive integer, or the padding token has no embedding.
    """
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
        size = getattr(config, name, None)
        if type(size) is not int or size < 1:
            raise ValueError(f"{path}: {name} must be a positive integer, got {size!r}")
    pad = getattr(config, "pad_token_id", None)
    if pad is not None and not 0 <= pad < config.vocab_size:
        raise ValueError(
            f"{path}: pad_token_id must lie in 0..{config.vocab_size - 1} (the vocabulary of the model), got {pad}"
        )


@functools.lru_cache(maxsize=4)
def load_tokenizer(folder: Path, digest: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder, cached by digest: loading is slow and sweep jobs share it."""
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


def covered_model(kind: Any, folder: Path, config: PreTrainedConfig, unread: Collection[str], **options: Any) -> Any:
    """Load a model whose checkpoint provides every tensor.

    Args:
        kind: one of transformers' auto classes.
        folder: folder of the checkpoint.
        config: the model's config.
        unread: modules that the checkpoint may lack.
        options: further arguments of ``from_pretrained``.

    Returns:
        The model.

    Raises:
        ValueError: the weights cannot be read, or do not match the config.
    """
    if not getattr(config, "quantization_config", None):
        check_number_formats(folder)
    with quiet_transformers(), reading_model(folder):
        model, loading_info = kind.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # check_covered raises, naming the tensors
            output_loading_info=True,
            **options,
        )
    base = model if kind.__name__ == "AutoModel" else model.base_model
    check_covered(base, loading_info, folder, unread)
    return model
