"""Cost formulas of a run: bytes on disk and in memory, and operations of forward passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keyneurons.pipeline.stored_rows import WORDS_AT_ONCE
from keyneurons.probe.standardise import PIECE

ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
WIDE_BYTES = 8  # per number in the sums of scoring


@dataclass(frozen=True)
class Shape:
    """Sizes of a model.

    Args:
        parameters: parameters of the model without a head, all blocks.
        block_parameters: parameters of one block, the largest if blocks differ.
        hidden: width of the residual stream.
        inner: width of the feed-forward block.
        heads: number of attention heads.
        attention: width of all heads, concatenated.
        keys: width of all keys, concatenated; the same for the values.
        whole_scores: whether attention materialises its scores ``[heads, tokens, tokens]``, as
            without a fused kernel.
        item_bytes: bytes per number of weights and hidden states.
    """

    parameters: int
    block_parameters: int
    hidden: int
    inner: int
    heads: int
    attention: int
    keys: int
    whole_scores: bool
    item_bytes: int

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        return self.parameters * self.item_bytes


@dataclass(frozen=True)
class Passes:
    """The batches of one split, padding included.

    ``squares`` is the sum over padded sentences of tokens squared; ``most_tokens``,
    ``most_squares`` and ``most_words`` are maxima over the batches.
    """

    batches: int
    tokens: int
    squares: int
    most_tokens: int
    most_squares: int
    most_words: int

    @classmethod
    def of(cls, plan: Sequence[Sequence[int]], lengths: Sequence[int], words: Sequence[int]) -> Passes:
        """Sums and maxima over batches.

        Args:
            plan: the sentence numbers of every batch.
            lengths: tokens of every sentence.
            words: words of every sentence.

        Returns:
            The sums and maxima.
        """
        widths = [max(lengths[i] for i in batch) for batch in plan]
        tokens = [len(batch) * width for batch, width in zip(plan, widths, strict=True)]
        squares = [own * width for own, width in zip(tokens, widths, strict=True)]
        read = [sum(words[i] for i in batch) for batch in plan]
        return cls(len(plan), sum(tokens), sum(squares), max(tokens), max(squares), max(read))


def forward_flops(weights_run: int, layers_run: int, attention: int, passes: Passes) -> int:
    """Floating-point operations of matrix products in forward passes.

    A product of ``[n, k]`` and ``[k, m]`` counts as ``2 n k m``, so every weight used costs 2 per
    token. Attention adds, for each sentence of ``t`` tokens and each layer, ``2 t^2 attention`` for
    the scores and the same for the sum of values: ``4 t^2 attention``. Squares count in full; a
    kernel that skips positions hidden by a causal mask does about half of that part. Norms,
    activation functions and the embedding are not counted.

    Args:
        weights_run: elements of the weight matrices used, over all layers run.
        layers_run: number of blocks run, including the deepest one even if it ends early.
        attention: width of all heads, concatenated.
        passes: the batches.

    Returns:
        The number of operations.
    """
    return 2 * weights_run * passes.tokens + 4 * layers_run * attention * passes.squares


def batch_bytes(shape: Shape, passes: Passes) -> int:
    """Upper bound of the bytes of hidden states in one block for the largest batch.

    Besides the residual stream and its normed copy, a block holds either four tensors of the
    feed-forward width (gate, its activation, up, their product), or five copies of the queries
    during rotation, keys and values. Without a fused kernel the attention scores are added, in the
    model's format and in float32.
    """
    widest = max(4 * shape.inner, 5 * shape.attention + 4 * shape.keys)
    passing = passes.most_tokens * (2 * shape.hidden + widest) * shape.item_bytes
    scores = shape.heads * passes.most_squares * (2 * shape.item_bytes + 4)
    return passing + (scores if shape.whole_scores else 0)


def captured_bytes(words: int, neurons: int, layers: int, item_bytes: int, *, batches: int = 1) -> int:
    """Bytes of a batch's activations until they are written: ``words x neurons x layers`` numbers.

    ``batches`` is 2 if a batch is computed while the previous one is written, as with a GPU.
    """
    return batches * words * neurons * layers * item_bytes


def read_bytes(words: int, neurons: int, item_bytes: int) -> int:
    """Bytes of one layer's activations of the words of a batch, before conversion."""
    return words * neurons * item_bytes


def moments_bytes(neurons: int, layers: int, tags: int, item_bytes: int, values_at_once: int) -> int:
    """Upper bound of the bytes of scoring by sums.

    A chunk of activations exists as read (twice: by layer and joined) and in float64 with its
    derived values; sums and sums of squares of every tag and neuron exist twice while layers are
    joined; scores, p-values, their bounds and effects are four more tables.

    Args:
        neurons: neurons of one layer.
        layers: number of layers read.
        tags: number of tags.
        item_bytes: bytes per number in the cache.
        values_at_once: numbers in a chunk.

    Returns:
        The bytes.
    """
    chunk = max(values_at_once, neurons) * (2 * item_bytes + 3 * WIDE_BYTES)
    return chunk + tags * neurons * layers * WIDE_BYTES * (2 * 2 + 4)


def side_by_side_bytes(words: int, neurons: int, layers: int, item_bytes: int) -> int:
    """Lower bound for a method that needs all neurons at once: as read, joined, and in float64."""
    return words * neurons * layers * (2 * item_bytes + WIDE_BYTES)


def probe_bytes(
    words: int,
    train_words: int,
    dev_words: int,
    columns: int,
    item_bytes: int,
    *,
    batch_words: int,
    budget: int,
) -> int:
    """Upper bound of the bytes of the inputs of probes, read from stored activations.

    The mini-batches of train and dev are kept in float32 if they fit into ``budget``; otherwise two
    of them are in memory at a time. Before that, pieces of train are read for means and deviations:
    as read, in float32, and in two derived copies. The activations of the key neurons are read in
    pieces of all columns, too.

    Args:
        words: labelled words of all splits.
        train_words: labelled words of train.
        dev_words: labelled words of dev.
        columns: neurons that any probe reads.
        item_bytes: bytes per number in the cache.
        batch_words: words of a mini-batch.
        budget: bytes for mini-batches that are kept.

    Returns:
        The bytes.
    """
    kept = 4 * columns * (train_words + dev_words)
    if kept > budget:
        kept = 2 * min(batch_words, train_words) * columns * (item_bytes + 3 * 4)
    pieces = min(PIECE, train_words) * columns * (item_bytes + 3 * 4)
    return kept + max(pieces, min(WORDS_AT_ONCE, words) * columns * item_bytes)


def training_bytes(weights: int, probes: int, words: int) -> int:
    """Upper bound of the bytes of probes in training besides their inputs.

    Every weight exists as a parameter, its gradient, two moments of Adam, its best value and the
    result, in float32; every probe has a class for every word and predictions, as 64-bit integers.

    Args:
        weights: weights of all probes.
        probes: number of probes.
        words: labelled words of all splits.

    Returns:
        The bytes.
    """
    return 6 * 4 * weights + 8 * probes * words
