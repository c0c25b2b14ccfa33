"""The activation reader of a configuration and its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from keyneurons.activations.batch_size import tokens_per_batch
from keyneurons.activations.processes import Processes
from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.build.basis import build_basis
from keyneurons.config import inputs, schema
from keyneurons.config.values import resolve_layers
from keyneurons.models.families import path_at
from keyneurons.models.folders import ModelFolder
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.packages import PACKAGES
from keyneurons.models.sources import FromPackages, HubModel, LocalModel, ModelSource

SOURCES: Mapping[type[inputs.Model], Callable[[Any, Path], ModelSource]] = {
    inputs.PackagedModel: lambda model, cache: FromPackages(PACKAGES[model.package], cache),
    inputs.HubModel: lambda model, _: HubModel(model.id, model.revision),
    inputs.LocalModel: lambda model, cache: LocalModel(model.folder, cache),
}


def build_reader(config: schema.Config) -> ActivationReader:
    """Fetch the model's files and build the reader of its activations."""
    files = build_model_source(config.model, config.cache.expanduser()).fetch()
    return make_reader(config, build_model(config.model, files), build_processes(config))


def make_reader(config: schema.Config, model: LanguageModel, processes: Processes) -> ActivationReader:
    """The reader of a model's activations with the settings of a configuration."""
    layers = resolve_layers(config.layer, model.n_layers)
    return ActivationReader(
        model=model,
        site=config.site,
        layers=layers,
        bos=config.model.bos,
        read_at=config.read_at,
        pooling=config.pooling,
        batch_tokens=tokens_per_batch(config.activations.batch_tokens, model),
        dtype=config.activations.dtype,
        store=ActivationStore(config.cache.expanduser() / "activations"),
        basis=build_basis(config, model, layers),
        processes=processes,
    )


def build_model(model: inputs.Model, files: ModelFolder) -> LanguageModel:
    """The model, not loaded yet."""
    return LanguageModel(
        files,
        dtype=model.dtype,
        device=model.device,
        device_map=model.device_map,
        random_weights=model.random_weights,
        modules=model.modules,
    )


def build_processes(config: schema.Config) -> Processes:
    """The processes that share the passes over the text.

    Raises:
        ValueError: the devices do not exist, or conflict with ``model.device`` or
            ``model.device_map``.
    """
    devices, accelerator = config.activations.devices, config.trainer.model_dump().get("accelerator", "auto")
    processes = Processes(str(accelerator), devices, config.activations.num_nodes)
    if processes.number > 1 and (config.model.device_map is not None or config.model.device != "auto"):
        raise ValueError(
            f"activations.devices={devices} puts the whole model on each device; it needs model.device=auto and "
            "model.device_map=null"
        )
    return processes


def build_model_source(model: inputs.Model, cache: Path) -> ModelSource:
    """The source of the model's files."""
    return SOURCES[type(model)](model, cache)


def check_model(config: schema.Config, read: ActivationReader) -> None:
    """Check architecture, device and ``top_k`` against the model.

    Raises:
        ValueError: the architecture or the module of the site is unknown, the device is missing, or
            ``top_k`` exceeds the number of neurons.
    """
    _ = read.model.family, read.model.device
    if config.site != "residual":
        path_at(read.model.family, config.site)
    width = read.units
    pool = width if config.scope == "layer" else width * len(read.layers)
    if config.top_k > pool:
        where = f"{config.site} of one layer" if config.scope == "layer" else f"{config.site} of these layers"
        raise ValueError(f"top_k must lie in 1..{pool} (the neurons of {where}), got {config.top_k}")


def check_layers(config: schema.Config, read: ActivationReader) -> None:
    """Check that the model supports every ``layer_by_layer.read_at``.

    Raises:
        ValueError: the model does not predict words, or there is no BOS token.
    """
    for read_at in config.layer_by_layer.read_at:
        replace(read, read_at=read_at)
        if read_at == "prediction" and read.bos_id() is None:
            raise ValueError("layer_by_layer.read_at=[prediction] needs a BOS token (model.bos)")
