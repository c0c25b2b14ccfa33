"""Train a small Llama on the text of a treebank and keep checkpoints at steps 0, 1, 2, 4, 8, ...

Run ``python examples/train_tiny_llama.py en_ewt-ud-train.conllu --folder checkpoints``. A few
minutes on two cores give models that ``keyneurons`` reads as revisions of one lineage::

    keyneurons experiment=checkpoints model=local \
        hydra.sweeper.params.model.folder=checkpoints/step_00000,checkpoints/step_00064,...

The file is CoNLL-U, whose ``# text`` lines are read, or plain text with a sentence a line. Every
20th sentence is held out; ``training.csv`` has both losses at every checkpoint, in nats per token.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

BOS = "<s>"
HELD_OUT = 20  # every 20th sentence


@dataclass(frozen=True)
class Size:
    """Shape of the model and of a batch; the defaults have 1.6 million weights."""

    vocabulary: int = 4000
    layers: int = 4
    width: int = 128
    neurons: int = 512
    heads: int = 4
    sequence: int = 128
    sequences: int = 8
    learning_rate: float = 3e-3


def read_sentences(path: Path) -> list[str]:
    """The sentences of a CoNLL-U file, or the lines of any other text file.

    Raises:
        ValueError: the file is missing, is not UTF-8, or has fewer than 20 sentences.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if path.suffix == ".conllu":
        lines = [line.partition("=")[2] for line in lines if line.startswith("# text =")]
    sentences = [line.strip() for line in lines if line.strip()]
    if len(sentences) < HELD_OUT:
        raise ValueError(f"{path} has {len(sentences)} sentences; training needs at least {HELD_OUT}")
    return sentences


def train_tokenizer(sentences: Sequence[str], vocabulary: int) -> Any:
    """A byte-level BPE, which encodes any text."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<pad>", BOS], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(sentences, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>", bos_token=BOS)


def new_model(tokenizer: Any, size: Size, seed: int) -> Any:
    """A random model whose weights depend on the seed only."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        intermediate_size=size.neurons,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def token_stream(tokenizer: Any, sentences: Sequence[str]) -> torch.Tensor:
    """The tokens of all sentences in a row, each sentence after a BOS token."""
    encoded = tokenizer([BOS + sentence for sentence in sentences], add_special_tokens=False)["input_ids"]
    return torch.tensor([token for own in encoded for token in own])


def batches(stream: torch.Tensor, size: Size, seed: int) -> Iterator[torch.Tensor]:
    """Random stretches of the stream, without end."""
    draw = torch.Generator().manual_seed(seed)
    length = min(size.sequence, len(stream))
    while True:
        starts = torch.randint(0, len(stream) - length + 1, (size.sequences,), generator=draw)
        yield torch.stack([stream[start : start + length] for start in starts.tolist()])


@torch.inference_mode()
def held_out_loss(model: Any, stream: torch.Tensor, size: Size) -> float:
    """Mean loss over consecutive stretches of at most 64 times the length of a sequence."""
    parts = [part for part in stream[: 64 * size.sequence].split(size.sequence) if len(part) > 1]
    losses = [(float(model(input_ids=part[None], labels=part[None]).loss), len(part) - 1) for part in parts]
    return sum(loss * n for loss, n in losses) / sum(n for _, n in losses)


def kept_steps(steps: int) -> list[int]:
    """Steps 0, 1, 2, 4, ... and the last one."""
    return [0, *(2**i for i in range(steps.bit_length()) if 2**i < steps), steps]


def learning_rate(step: int, steps: int, most: float) -> float:
    """Linear warm-up over the first 5 % of the steps, then a cosine to a tenth."""
    warm = max(1, steps // 20)
    done = max(0.0, (step - warm) / max(1, steps - warm))
    return most * min(1.0, step / warm) * (0.55 + 0.45 * math.cos(math.pi * done))


def one_step(model: Any, optimizer: torch.optim.Optimizer, batch: torch.Tensor, rate: float) -> float:
    """Train on a batch and return its loss."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss = model(input_ids=batch, labels=batch).loss
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def check(folder: Path, steps: int) -> None:
    """Check the options.

    Raises:
        ValueError: the folder has files, or ``steps`` is below 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists and is not an empty folder; choose another --folder")


def train(path: Path, folder: Path, steps: int, seed: int, size: Size | None = None) -> list[Path]:
    """Train and return the folders of the checkpoints, ``step_00000`` first.

    The BPE is made from all sentences, held-out ones included.

    Raises:
        ValueError: the text is missing or too short, the folder has files, or ``steps`` is below 1.
    """
    check(folder, steps)
    size, sentences = size or Size(), read_sentences(path)
    tokenizer = train_tokenizer(sentences, size.vocabulary)
    is_held_out = [i % HELD_OUT == HELD_OUT - 1 for i in range(len(sentences))]
    seen, held_out = (
        token_stream(tokenizer, [text for text, held in zip(sentences, is_held_out, strict=True) if held is which])
        for which in (False, True)
    )
    model, source = new_model(tokenizer, size, seed), batches(seen, size, seed)
    transformers_logging.disable_progress_bar()
    optimizer = torch.optim.AdamW(model.parameters(), lr=size.learning_rate, betas=(0.9, 0.95), weight_decay=0.1)
    folder.mkdir(parents=True, exist_ok=True)
    kept, losses, made = kept_steps(steps), list[float](), list[Path]()
    with (folder / "training.csv").open("w", encoding="utf-8", newline="") as file, tqdm(total=steps) as progress:
        rows = csv.writer(file)
        rows.writerow(["step", "loss", "held_out_loss"])
        for step in range(steps + 1):
            if step > 0:
                losses.append(one_step(model, optimizer, next(source), learning_rate(step, steps, size.learning_rate)))
                progress.update()
            if step in kept:
                made.append(folder / f"step_{step:05d}")
                model.save_pretrained(made[-1])
                tokenizer.save_pretrained(made[-1])
                loss = held_out_loss(model, held_out, size)
                rows.writerow([step, f"{sum(losses) / len(losses):.4f}" if losses else "", f"{loss:.4f}"])
                progress.set_postfix_str(f"held-out loss {loss:.2f}")
                losses.clear()
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="CoNLL-U file, or text with a sentence a line")
    parser.add_argument("--folder", type=Path, default=Path("checkpoints"), help="new folder of the checkpoints")
    parser.add_argument("--steps", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        made = train(options.file, options.folder, options.steps, options.seed)
    except ValueError as error:
        sys.exit(f"train_tiny_llama: {error}")
    print(f"{len(made)} checkpoints in {options.folder}: {made[0].name} to {made[-1].name}")


if __name__ == "__main__":
    main()
