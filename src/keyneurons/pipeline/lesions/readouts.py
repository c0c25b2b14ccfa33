"""Readouts besides surprisal: probes in later layers, probability of words of the correct tag."""

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
from keyneurons.pipeline.probes import TrainedProbe
from keyneurons.records import Labels, Treebank

ProbeOf = Callable[[StoredActivations], TrainedProbe]


def later_probe(
    read: ActivationReader, treebank: Treebank, layer: int, probe_of: ProbeOf, gold: Int[ndarray, " words"]
) -> Readout:
    """Accuracy of a probe on the residual stream of a later layer, trained on the intact model.

    Args:
        read: Reader of activations of the same model.
        treebank: All sentences.
        layer: The later layer.
        probe_of: Trains the probe.
        gold: The tags of the measured words, numbered as in the probe.

    Returns:
        A readout: 1 for correct predictions, 0 for others.
    """
    later = replace(read.of_neurons(), site="residual", layers=(layer,), read_at="word", pooling="last")
    probe = probe_of(StoredActivations.of(later, treebank))
    correct = torch.from_numpy(gold)

    def is_correct(
        hidden: Float[Tensor, "conditions words hidden"], words: Int[ndarray, " words"]
    ) -> Float[Tensor, "conditions words"]:
        return (probe(hidden.float().cpu()).argmax(dim=2) == correct[words]).float()

    return Readout(layer, is_correct)


def tag_mass(predictor: Predictor, table: Float[Tensor, "tokens tags"], gold: Int[ndarray, " words"]) -> Readout:
    """Probability that a word of the correct tag comes next.

    It is the sum over all tokens of their probability times the share of their words with that tag.

    Args:
        predictor: Computes logits.
        table: For every token, the share of each tag among the train words that begin with it.
        gold: The tags of the measured words, as columns of the table.

    Returns:
        A readout of probabilities.
    """
    correct = torch.from_numpy(gold)

    def mass(
        hidden: Float[Tensor, "conditions words hidden"], words: Int[ndarray, " words"]
    ) -> Float[Tensor, "conditions words"]:
        shares = table.to(hidden.device)
        parts = torch.split(hidden.flatten(0, 1), HEAD_ROWS)
        by_tag = torch.cat([predictor.logits(part).softmax(dim=1).to(shares.dtype) @ shares for part in parts])
        own = correct[words].to(hidden.device).repeat(len(hidden))
        return by_tag.gather(1, own[:, None]).view(hidden.shape[:2])

    return Readout(None, mass)


def tags_of_tokens(read: ActivationReader, treebank: Treebank, labels: Labels) -> Float[Tensor, "tokens tags"]:
    """Share of each tag among the train words that begin with a token; 0 without any."""
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
    """Map indices among the tags under study to indices among all tags.

    Words of no tag under study (-1) take any of them: their readouts are not used.
    """
    numbers = np.array([labels.names.index(name) for name in names], dtype=np.int64)
    return numbers.take(tags, mode="wrap")
