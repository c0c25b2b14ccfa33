"""What a run takes, as formulas: bytes on disk and in memory, and operations of forward passes. Plain arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
WIDE_BYTES = 8  # of a number in the sums of scoring


@dataclass(frozen=True)
class Shape:
    """A model as the formulas see it.

    Args:
        parameters: numbers in the model without a head, all blocks.
        block_parameters: numbers in one block, the largest if they differ.
        hidden: width of the residual stream.
        inner: width of the feed-forward block.
        heads: attention heads.
        attention: width of the heads side by side.
        keys: width of the keys, and of the values, side by side.
        whole_scores: whether attention holds its scores ``[heads, tokens, tokens]``, as it does without a fused kernel.
        item_bytes: of a number of the weights and of what passes through them.
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

    ``squares`` is the sum over the padded sentences of tokens squared; ``most_tokens``, ``most_squares`` and
    ``most_words`` are those of the largest batch in each respect.
    """

    batches: int
    tokens: int
    squares: int
    most_tokens: int
    most_squares: int
    most_words: int

    @classmethod
    def of(cls, plan: Sequence[Sequence[int]], lengths: Sequence[int], words: Sequence[int]) -> Passes:
        """Sum up batches.

        Args:
            plan: the sentences of every batch, by number.
            lengths: tokens of every sentence.
            words: words of every sentence.

        Returns:
            The sums.
        """
        widths = [max(lengths[i] for i in batch) for batch in plan]
        tokens = [len(batch) * width for batch, width in zip(plan, widths, strict=True)]
        squares = [own * width for own, width in zip(tokens, widths, strict=True)]
        read = [sum(words[i] for i in batch) for batch in plan]
        return cls(len(plan), sum(tokens), sum(squares), max(tokens), max(squares), max(read))


def forward_flops(weights_run: int, layers_run: int, attention: int, passes: Passes) -> int:
    """Floating-point operations of matrix products in forward passes.

    A product of ``[n, k]`` and ``[k, m]`` counts as ``2 n k m``, so every weight that is run costs 2 for each token.
    Attention adds, for each sentence of ``t`` tokens and each layer, ``2 t^2 attention`` for the scores and as much for
    the sum of values: ``4 t^2 attention``. Squares are counted whole; a kernel that leaves out what a causal mask hides
    does about half of that part. Norms, activation functions and the embedding are left out.

    Args:
        weights_run: elements of the weight matrices run, over all layers run.
        layers_run: blocks run, the deepest one included even if it ends early.
        attention: width of the heads side by side.
        passes: the batches.

    Returns:
        The number of operations.
    """
    return 2 * weights_run * passes.tokens + 4 * layers_run * attention * passes.squares


def batch_bytes(shape: Shape, passes: Passes) -> int:
    """Most bytes that pass through one block for the largest batch, an upper bound.

    Beside the residual stream and what the norm made of it, a block holds either four tensors of the feed-forward width
    (gate, its activation, up, their product), or queries in five copies while they are rotated, keys and values. The
    attention scores come on top where no fused kernel does without them, once as such and once in float32.
    """
    widest = max(4 * shape.inner, 5 * shape.attention + 4 * shape.keys)
    passing = passes.most_tokens * (2 * shape.hidden + widest) * shape.item_bytes
    scores = shape.heads * passes.most_squares * (2 * shape.item_bytes + 4)
    return passing + (scores if shape.whole_scores else 0)


def captured_bytes(words: int, neurons: int, layers: int, item_bytes: int, *, batches: int = 1) -> int:
    """Bytes of the activations kept of a batch until they are written: ``words x neurons x layers`` numbers.

    ``batches`` is 2 where one more batch is under way than is written, as behind a GPU.
    """
    return batches * words * neurons * layers * item_bytes


def read_bytes(words: int, neurons: int, item_bytes: int) -> int:
    """Bytes of one layer's activations of the words of a batch, before they are converted."""
    return words * neurons * item_bytes


def moments_bytes(neurons: int, layers: int, tags: int, item_bytes: int, values_at_once: int) -> int:
    """Most bytes of scoring by sums.

    A piece of the activations lies there as read (twice: by layer and joined), and widened to float64 beside what is
    made of it; sums and sums of squares of every tag and neuron are held twice when the layers are joined; scores,
    p-values, their bounds and effects are four more tables.

    Args:
        neurons: of one layer.
        layers: read.
        tags: number of tags.
        item_bytes: of a number in the cache.
        values_at_once: numbers of a piece.

    Returns:
        The bytes.
    """
    piece = max(values_at_once, neurons) * (2 * item_bytes + 3 * WIDE_BYTES)
    return piece + tags * neurons * layers * WIDE_BYTES * (2 * 2 + 4)


def side_by_side_bytes(words: int, neurons: int, layers: int, item_bytes: int) -> int:
    """Least bytes of a method that sees all neurons of some layers at once: as read, joined, and in float64."""
    return words * neurons * layers * (2 * item_bytes + WIDE_BYTES)


def probe_bytes(
    words: int, train_words: int, dev_words: int, columns: int, item_bytes: int, *, batch_words: int
) -> int:
    """Most bytes of training a probe.

    The columns of all splits lie there as read; beside them are, in float32, those of train as they are and
    standardised, those of dev standardised, and two copies of a batch.

    Args:
        words: labelled words of all splits.
        train_words: those of train.
        dev_words: those of dev.
        columns: neurons that some probe reads.
        item_bytes: of a number in the cache.
        batch_words: words of a mini-batch.

    Returns:
        The bytes.
    """
    return columns * (words * item_bytes + 4 * (2 * train_words + dev_words + 2 * min(batch_words, train_words)))


def probe_device_bytes(train_words: int, dev_words: int, columns: int) -> int:
    """Bytes of a probe's standardised input (float32) on the device that trains it."""
    return 4 * columns * (train_words + dev_words)
