"""The title of a run: its model, site, layers and selection."""

from __future__ import annotations

from keyneurons.pipeline.experiment import Result
from keyneurons.report.phrases import describe_place
from keyneurons.report.run.given_sets import selected_by


def run_title(result: Result) -> str:
    """Model, site, layers and selection of a run in one line."""
    sets, read = result.key_neurons.sets, result.experiment.read
    return f"{read.model.name}, {describe_place(sets.site, sets.layers, sets.basis)}: {selected_by(result)}"
