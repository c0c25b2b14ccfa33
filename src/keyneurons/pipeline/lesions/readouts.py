"""What is read of words beside their surprisal: their tag in later layers, the probability of words of their tag."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.reader import ActivationReader
from keyneurons.lesion.surprisal import HEAD_ROWS, Readout
from keyneurons.models.head import Predictor
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.probes import KeyProbe
from keyneurons.records import Labels, Treebank

ProbeOf = Callable[[StoredActivations], KeyProbe]


def later_probe(
    read: ActivationReader, treebank: Treebank, layer: int, probe_of: ProbeOf, gold: Int[ndarray, " words"]
) -> Readout:
    """Whether a probe on the residual stream of a later layer, trained on the intact model, tells the words' tags.

    Args:
        read: reads activations of the same model.
        treebank: all sentences.
        layer: the later layer.
        probe_of: trains the probe.
        gold: the tags of the words that are measured, as the probe numbers them.

    Returns:
        1 where it is right, 0 where it is wrong.
    """
    here = replace(read, site="residual", layers=(layer,), read_at="word", pooling="last")
    probe = probe_of(StoredActivations.of(here, treebank))
    wanted = torch.from_numpy(gold)

    def right(
        hidden: Float[Tensor, "conditions words hidden"], words: Int[ndarray, " words"]
    ) -> Float[Tensor, "conditions words"]:
        return (probe(hidden.float().cpu()).argmax(dim=2) == wanted[words]).float()

    return Readout(layer, right)


def tag_mass(predictor: Predictor, table: Float[Tensor, "tokens tags"], gold: Int[ndarray, " words"]) -> Readout:
    """The probability that a word of the right tag comes next: of all tokens, by the share of their words with it.

    Args:
        predictor: makes logits.
        table: for every token, the share of the train words beginning with it that have each tag.
        gold: the tags of the words that are measured, by the columns of the table.

    Returns:
        A probability.
    """
    wanted = torch.from_numpy(gold)

    def mass(
        hidden: Float[Tensor, "conditions words hidden"], words: Int[ndarray, " words"]
    ) -> Float[Tensor, "conditions words"]:
        shares = table.to(hidden.device)
        parts = torch.split(hidden.flatten(0, 1), HEAD_ROWS)
        of_tags = torch.cat([predictor.logits(part).softmax(dim=1).to(shares.dtype) @ shares for part in parts])
        own = wanted[words].to(hidden.device).repeat(len(hidden))
        return of_tags.gather(1, own[:, None]).view(hidden.shape[:2])

    return Readout(None, mass)


def tags_of_tokens(read: ActivationReader, treebank: Treebank, labels: Labels) -> Float[Tensor, "tokens tags"]:
    """For every token, the share of the train words beginning with it that have each tag; 0 where there is none."""
    words = [
        e.ids[first]
        for e in replace(read, read_at="word", pooling="first").encode(treebank.splits["train"])
        for first, _ in e.reads
    ]
    tokens, train = torch.tensor(words), labels.splits["train"]
    n_tokens = read.model.config.vocab_size
    counts = torch.zeros(n_tokens, len(labels.names))
    counts.index_put_((tokens[train.rows], torch.from_numpy(train.tags)), torch.ones(len(train.tags)), accumulate=True)
    return counts / torch.bincount(tokens, minlength=n_tokens).clamp(min=1)[:, None]


def gold_tags(names: tuple[str, ...], labels: Labels, tags: Int[ndarray, " words"]) -> Int[ndarray, " words"]:
    """Tags under study by their numbers among all tags."""
    numbers = np.array([labels.names.index(name) for name in names], dtype=np.int64)
    return numbers.take(tags)
