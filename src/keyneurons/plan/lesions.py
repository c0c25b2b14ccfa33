"""The cost of lesions: an upper bound of their operations and of their time."""

from __future__ import annotations

from keyneurons.activations.reader import ActivationReader
from keyneurons.config import schema
from keyneurons.plan.costs import Shape
from keyneurons.plan.report import format_time
from keyneurons.plan.speed import Speed
from keyneurons.plan.text import PlannedText


def describe_lesions(
    lesion: schema.Lesion, read: ActivationReader, text: PlannedText, shape: Shape, speed: Speed
) -> str:
    """State the number of conditions, and the operations and time that they take at most.

    Every condition takes the blocks from the first lesioned one on, and the head. The bound counts
    all tokens of the sentences at both, and all further control sets; few sets are needed where the
    lesion hurts no more than they do.

    Args:
        lesion: the settings.
        read: reads the lesioned layers.
        text: the text.
        shape: sizes of the model.
        speed: the speed of forward passes.

    Returns:
        A line of the plan.
    """
    tags = len(lesion.tags) if isinstance(lesion.tags, tuple) else text.n_tags
    tags = min(tags, lesion.tags) if isinstance(lesion.tags, int) else tags
    tokens = sum(len(encoded.ids) for encoded in text.encoded[lesion.split][: lesion.sentences])
    fixed = 1 + tags * (len({1.0, *lesion.shares}) + len(lesion.families) * lesion.sets)
    further = tags * len(lesion.families) * lesion.further_sets
    blocks = read.model.n_layers - min(read.layers)
    weights = blocks * shape.block_parameters + read.model.config.vocab_size * shape.hidden
    operations = 2 * weights * tokens * (fixed + further)
    rate = speed.flops_per_second
    time = f", {format_time(operations / rate)} at {rate / 1e9:.3g} GFLOP/s" if rate else ""
    return (
        f"lesions: {tags} tags, {fixed} conditions and at most {further} further control sets on the words of one tag, "
        f"at most {operations / 1e12:,.3g} TFLOP with the head{time}"
    )
