"""The cost of ablations as a selection method: an upper bound of their operations and time."""

from __future__ import annotations

from keyneurons.activations.reader import ActivationReader
from keyneurons.attribution.ablation import COPIES, AblationEffect
from keyneurons.plan.costs import Shape
from keyneurons.plan.report import format_time
from keyneurons.plan.speed import Speed


def describe_ablation(method: AblationEffect, read: ActivationReader, tags: int, shape: Shape, speed: Speed) -> str:
    """State the number of ablations, and the operations and time that they take at most.

    Every ablation of a neuron takes the blocks from its own on, and the head, for one position of a
    word. The bound assumes that tags share no candidates and that no tag has too few words.

    Args:
        method: the method.
        read: reads the layers.
        tags: number of tags.
        shape: sizes of the model.
        speed: the speed of forward passes.

    Returns:
        A line of the plan.
    """
    words = tags * method.words_per_tag
    per_layer = min(read.model.width(read.site), tags * method.candidates)
    blocks = sum(read.model.n_layers - layer for layer in read.layers)
    weights = blocks * shape.block_parameters + len(read.layers) * read.model.config.vocab_size * shape.hidden
    operations = 2 * weights * words * per_layer * COPIES / (COPIES - 1)
    rate = speed.flops_per_second
    time = f", {format_time(operations / rate)} at {rate / 1e9:.3g} GFLOP/s" if rate else ""
    return (
        f"ablations: at most {per_layer * len(read.layers):,} neurons on {words:,} words, "
        f"at most {operations / 1e12:,.3g} TFLOP with the head{time}; candidates are not planned"
    )
