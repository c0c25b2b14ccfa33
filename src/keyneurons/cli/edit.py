"""The command ``edit``: writes a copy of a run's model with edited key neurons."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from keyneurons.atomic_files import write_json, write_text
from keyneurons.catalogue.folders import check_new, new_folder
from keyneurons.catalogue.licences import licences_of
from keyneurons.config.schema import Config
from keyneurons.models.edited import Edit, write_edited
from keyneurons.pipeline.activations import read_activations
from keyneurons.progress import stage
from keyneurons.report.edit_card import EditCard
from keyneurons.runs.reload import Rebuilt, ReloadedModel, key_neurons_of, rebuild, reload_model


@dataclass(frozen=True)
class Request:
    """The run, the tag whose key neurons are edited, and their factor; None for their mean."""

    run: str
    tag: str
    factor: float | None
    overrides: Sequence[str]


def run_edit(request: Request, out: Path, compose: Callable[[Sequence[str]], Config]) -> str:
    """Write the edited model to a new folder.

    Args:
        request: the run and the edit.
        out: the new folder.
        compose: returns the validated configuration with some overrides.

    Returns:
        A line that says what was written.

    Raises:
        ValueError: the folder exists, there is no such run or tag, the tag has no key neurons, or
            the model's weights cannot express the edit.
    """
    if request.factor is not None and not math.isfinite(request.factor):
        raise ValueError(f"--factor must be a finite number, got {request.factor:g}")
    check_new(out)
    load = rebuild if request.factor is None else reload_model
    found: Rebuilt | ReloadedModel = load(request.run, request.overrides, compose)
    if "basis" in found.key:
        raise ValueError(
            f"edit needs neurons; run {found.run.name} ({found.run.id}) has units of basis={found.key['basis']['name']}"
        )
    neurons = _neurons(found, request.tag)
    levels = _means(found, neurons) if isinstance(found, Rebuilt) else {}
    edits = {
        layer: Edit(torch.tensor(here), 0.0 if request.factor is None else request.factor, levels.get(layer))
        for layer, here in neurons.items()
    }
    licence = licences_of(found.run.config(), sets=None, model=None, dataset=None).model
    card = EditCard(f"{found.run.name} ({found.run.id})", found.key, request.tag, request.factor, licence)
    with new_folder(out, out) as folder, stage(f"writing the edited model to {out}"):
        write_edited(found.read.model, found.read.site, edits, folder)
        write_json(folder / "edit.json", card.facts())
        write_text(folder / "README.md", card.markdown())
    change = "held at their mean" if request.factor is None else f"multiplied by {request.factor:g}"
    number = sum(map(len, neurons.values()))
    return f"{number} key neurons of {request.tag} are {change} in the model in {out}"


def _neurons(found: Rebuilt | ReloadedModel, tag: str) -> dict[int, list[int]]:
    """The key neurons of a tag by layer."""
    neurons = key_neurons_of(found.run, found.key, tag)
    layers = sorted({each["layer"] for each in neurons})
    return {layer: [each["neuron"] for each in neurons if each["layer"] == layer] for layer in layers}


def _means(found: Rebuilt, neurons: dict[int, list[int]]) -> dict[int, torch.Tensor]:
    """Mean activation of the neurons over all train words, by layer."""
    read = found.read
    width = read.model.width(read.site)
    activations = read_activations(read, found.treebank, store=found.run.config().activations.store)
    place = {layer: i for i, layer in enumerate(read.layers)}
    columns = torch.tensor([place[layer] * width + neuron for layer, here in neurons.items() for neuron in here])
    means = iter(activations.columns(found.labels, columns.numpy())["train"].double().mean(dim=0))
    return {layer: torch.stack([next(means) for _ in here]) for layer, here in neurons.items()}
