"""Tiny random models in folders as a user has them, and sentences to read with them. Nothing is downloaded."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

from keyneurons.records import Sentence, Word

TEXT = """
The dog and the cat cannot see the light in the window, but they can hear that the rain is falling on the old roof.
When the children were in the garden, the man who had the key to the house said that he would not give it to them.
She runs in the morning and reads in the evening. He cannot run, and he cannot read. They cannot say that it is light.
Is it the light of the lamp, or is it the light of the moon? I do not know, but the window is open and the rain is cold.
"""

# the text is short: without larger weights every word would look the same to a random model
SMALL = {"hidden_size": 32, "num_attention_heads": 4, "max_position_embeddings": 512, "initializer_range": 0.2}
GATED = {**SMALL, "intermediate_size": 48, "num_key_value_heads": 2}
SHAPES: dict[str, dict[str, Any]] = {
    "llama": GATED,
    "mistral": {**GATED, "sliding_window": None},
    "qwen2": GATED,
    "qwen3": {**GATED, "head_dim": 12},
    "smollm3": GATED,
    "gemma": {**GATED, "head_dim": 12},
    "gemma2": {**GATED, "head_dim": 12},
    "gemma3_text": {**GATED, "head_dim": 12},
    "gpt2": SMALL,
    "gpt_neox": {**SMALL, "intermediate_size": 40},
    "bert": {**SMALL, "intermediate_size": 40},
    # keyneurons does not know this one
    "starcoder2": GATED,
}


def save_tiny_model(folder: Path, kind: str = "llama", *, layers: int = 4, seed: int = 0, **changes: Any) -> Path:
    """A random model of some 32 hidden units, in safetensors with a fast tokenizer.

    Args:
        folder: where to save it.
        kind: a key of ``SHAPES``.
        layers: number of blocks.
        seed: seed of the weights.
        changes: other values for the model's config.

    Returns:
        The folder, fit for ``model=local model.folder=...``.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

    from keyneurons.activations.quiet import quiet_transformers

    tokenizer = tiny_tokenizer(kind == "bert")
    special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    shape = {**SHAPES[kind], **special, "vocab_size": len(tokenizer), "num_hidden_layers": layers, **changes}
    config = AutoConfig.for_model(kind, **shape)
    with quiet_transformers(), torch.random.fork_rng():
        # far from the seed of random_weights, which must give another model
        torch.manual_seed(1000 + seed)
        model = (AutoModelForMaskedLM if kind == "bert" else AutoModelForCausalLM).from_config(config)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


@functools.cache
def tiny_tokenizer(bert: bool = False) -> Any:
    """A byte-level BPE of 400 pieces: it reads any text and counts the leading space into the token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    names = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"] if bert else ["<pad>", "<s>", "</s>", "<other>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXT.splitlines() * 2,
        trainers.BpeTrainer(vocab_size=400, special_tokens=names, initial_alphabet=alphabet, show_progress=False),
    )
    roles = {"cls_token": names[1], "sep_token": names[2]} if bert else {"bos_token": names[1], "eos_token": names[2]}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=names[0], **roles)


def sentence(text: str, *spans: tuple[int, int], name: str = "s1") -> Sentence:
    """A sentence with a word for each span; without spans, words and punctuation as they stand."""
    found = spans or tuple(match.span() for match in re.finditer(r"\w+|[^\w\s]", text))
    return Sentence(name, text, tuple(Word(text[a:b], a, b, "X", None) for a, b in found))


def sentences(text: str = TEXT) -> tuple[Sentence, ...]:
    """The sentences of a text, of many lengths."""
    pieces = [piece for piece in re.split(r"(?<=[.?])\s+", text.strip()) if piece]
    return tuple(sentence(" ".join(piece.split()), name=f"s{i}") for i, piece in enumerate(pieces))
