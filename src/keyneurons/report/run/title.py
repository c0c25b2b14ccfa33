"""The title of a run: its model, site, layers and selection."""

from __future__ import annotations

from keyneurons.pipeline.experiment import Result
from keyneurons.report.phrases import describe_layers
from keyneurons.report.run.given_sets import selected_by


def run_title(result: Result) -> str:
    """Model, site, layers and selection of a run in one line."""
    layers = describe_layers(result.key_neurons.sets.layers)
    read = result.experiment.read
    basis = f" in the basis {read.basis.name}" if read.basis_key else ""
    return f"{read.model.name}, {read.site}, {layers}{basis}: {selected_by(result)}"
