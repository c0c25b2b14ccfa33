"""What the summary of a run with given sets says about them."""

from __future__ import annotations

from collections.abc import Iterator

from keyneurons.pipeline.experiment import Result
from keyneurons.pipeline.given_sets import GivenSets
from keyneurons.report.phrases import counted


def selected_by(result: Result) -> str:
    """The method of a run, or the origin of its given sets, for the title."""
    selection = result.experiment.selection
    if not isinstance(selection, GivenSets):
        return f"{counted(selection.rule.top_k, 'key neuron')} per tag by {result.experiment.method}"
    return f"at most {counted(selection.rule.top_k, 'key neuron')} per tag from {selection.origin.name}"


def given_facts(result: Result) -> Iterator[str]:
    """Origin of given sets, tags without a counterpart, and what is not measured."""
    selection, names = result.experiment.selection, result.text.labels.names
    if not isinstance(selection, GivenSets):
        return
    origin = selection.origin
    yield (
        f"the sets were selected by {origin.method} on {origin.dataset} (tags from {origin.tag_column}), not in this "
        "run; their stability is not measured"
    )
    if (revision := result.experiment.read.model.files.revision) != origin.revision:
        yield f"the sets are of revision {origin.revision} of the model; this run reads revision {revision}"
    if dropped := selection.dropped(names):
        yield f"given sets not used (tags absent or excluded in this text): {', '.join(dropped)}"
    if missing := [tag for tag in names if tag not in selection.sets.tags]:
        yield f"tags without a given set: {', '.join(missing)}"
    if cut := selection.cut(names):
        where = " per layer" if selection.rule.scope == "layer" else ""
        yield f"given sets cut to their strongest top_k={selection.rule.top_k} neurons{where}: {', '.join(cut)}"
    if result.unseen is not None:
        yield "the given sets may have been selected on words of the held-out types"
