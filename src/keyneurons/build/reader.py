"""The reader of activations and the model behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from keyneurons.activations.processes import Processes
from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.config import inputs, schema
from keyneurons.config.values import resolve_layers
from keyneurons.models.folders import ModelFolder
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import HubModel, LocalModel, ModelSource, PackagedSmolLM2

SOURCES: Mapping[type[inputs.Model], Callable[[Any, Path], ModelSource]] = {
    inputs.PackagedModel: lambda _, cache: PackagedSmolLM2(cache),
    inputs.HubModel: lambda model, _: HubModel(model.id, model.revision),
    inputs.LocalModel: lambda model, cache: LocalModel(model.folder, cache),
}


def build_reader(config: schema.Config) -> ActivationReader:
    """The reader of activations, bound to a model whose files are here."""
    files = build_model_source(config.model, config.cache.expanduser()).fetch()
    return reader_of(config, build_model(config.model, files), build_processes(config))


def reader_of(config: schema.Config, model: LanguageModel, processes: Processes) -> ActivationReader:
    """The reader of a model's activations, as the configuration asks for them."""
    return ActivationReader(
        model=model,
        site=config.site,
        layers=resolve_layers(config.layer, model.n_layers),
        bos=config.model.bos,
        read_at=config.read_at,
        pooling=config.pooling,
        batch_tokens=config.activations.batch_tokens,
        dtype=config.activations.dtype,
        store=ActivationStore(config.cache.expanduser() / "activations"),
        processes=processes,
    )


def build_model(model: inputs.Model, files: ModelFolder) -> LanguageModel:
    """The model, nothing of it loaded yet."""
    return LanguageModel(
        files,
        dtype=model.dtype,
        device=model.device,
        device_map=model.device_map,
        random_weights=model.random_weights,
        modules=model.modules,
    )


def build_processes(config: schema.Config) -> Processes:
    """Who shares the passes over the text.

    Raises:
        ValueError: there are no such devices, or the model is to be on one of its own, or spread over several.
    """
    devices, accelerator = config.activations.devices, config.trainer.model_dump().get("accelerator", "auto")
    processes = Processes(str(accelerator), devices, config.activations.num_nodes)
    if processes.number > 1 and (config.model.device_map is not None or config.model.device != "auto"):
        raise ValueError(
            f"activations.devices={devices} gives each of several processes a device and the whole model: it needs "
            "model.device=auto and model.device_map=null"
        )
    return processes


def build_model_source(model: inputs.Model, cache: Path) -> ModelSource:
    """Where the model comes from."""
    return SOURCES[type(model)](model, cache)


def check_model(config: schema.Config, read: ActivationReader) -> None:
    """Refuse more key neurons than there are, an unknown architecture, and a device that is not here.

    Raises:
        ValueError: one of these.
    """
    _ = read.model.family, read.model.device
    width = read.model.width(config.site)
    pool = width if config.scope == "layer" else width * len(read.layers)
    if config.top_k > pool:
        where = f"{config.site} of one layer" if config.scope == "layer" else f"{config.site} of these layers"
        raise ValueError(f"top_k must lie in 1..{pool} (the neurons of {where}), got {config.top_k}")


def check_layers(config: schema.Config, read: ActivationReader) -> None:
    """Refuse readings of the layers by themselves that the model does not allow.

    Raises:
        ValueError: it does not predict, or nothing is in front of the first word.
    """
    for read_at in config.layer_by_layer.read_at:
        replace(read, read_at=read_at)
        if read_at == "prediction" and read.bos_id() is None:
            raise ValueError("layer_by_layer.read_at=[prediction] needs a token in front of the first word: model.bos")
