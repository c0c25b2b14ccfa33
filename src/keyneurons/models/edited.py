"""Copies of a model whose weights scale the activations of some neurons, or hold them constant."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from keyneurons.atomic_files import write_json
from keyneurons.models.checkpoint import Checkpoint
from keyneurons.models.families import FAMILIES, block_modules, submodule
from keyneurons.models.folders import TOKENIZER_FILES
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.packaged import DIGESTS
from keyneurons.models.weights import reading_model
from keyneurons.quiet import quiet_transformers
from keyneurons.records import Site

COPIED = ("*.json", *TOKENIZER_FILES, "*.jinja", "LICENSE*", "NOTICE*", "*TERMS*")
BIAS_OPTIONS: Mapping[Site, str] = {"mlp": "mlp_bias", "attention": "attention_bias"}
"""Options of some configs that give the projection of a site a bias."""


@dataclass(frozen=True)
class Edit:
    """Edited neurons of a layer: ``factor`` times their activation, plus ``level`` if it is set."""

    neurons: Int[Tensor, " edited"]
    factor: float
    level: Float[Tensor, " edited"] | None = None


def write_edited(model: LanguageModel, site: Site, edits: Mapping[int, Edit], folder: Path) -> None:
    """Write a copy of a model with edited neurons; all other tensors stay the same bit for bit.

    A neuron is an input of the projection that follows its site, so the projection's column is
    scaled; a level times the column is added to the projection's bias. A model without this bias
    gets one where its config has an option for it.

    Args:
        model: the model; its weights are read from its files, not from memory.
        site: the site of the neurons.
        edits: edits by layer.
        folder: an empty folder.

    Raises:
        ValueError: the weights of this architecture cannot express the edit, or the edited weights
            are not finite.
    """
    _check_editable(model, site)
    checkpoint = Checkpoint.of(model.files.path)
    plain = _meta_model(model, {})
    levels = {layer for layer, edit in edits.items() if edit.level is not None}
    option = _bias_option(model, site, plain, levels)
    network = _meta_model(model, {option: True}) if option else plain
    projections = {layer: Projection.of(network, model, site, layer) for layer in edits}
    prefix = checkpoint.prefix(next(iter(projections.values())).weight)
    new = network.state_dict().keys() - plain.state_dict().keys()
    tensors: dict[str, Callable[[], Tensor]] = {}
    for name in sorted(new):
        tensors[prefix + name] = partial(torch.zeros, network.state_dict()[name].shape, dtype=checkpoint.dtype)
    for layer, projection in projections.items():
        edited = _Edited(checkpoint, prefix, projection, edits[layer])
        tensors[prefix + projection.weight] = edited.weight
        if edits[layer].level is not None:
            tensors[prefix + projection.bias] = edited.bias
    _copy_other_files(model.files.path, folder, option)
    checkpoint.write(folder, tensors)


@dataclass(frozen=True)
class Projection:
    """Names of a linear layer's parameters in the base model, and the axis of its inputs."""

    weight: str
    bias: str
    has_bias: bool
    inputs: int

    @classmethod
    def of(cls, network: nn.Module, model: LanguageModel, site: Site, layer: int) -> Projection:
        """The projection that reads a site.

        Raises:
            ValueError: it is no linear layer.
        """
        from transformers.pytorch_utils import Conv1D

        path = model.family.attention if site == "attention" else model.family.mlp
        module = submodule(block_modules(network, model.family)[layer], path)
        if not isinstance(module, nn.Linear | Conv1D):
            raise ValueError(f"{path} of {model.files.id} is a {type(module).__name__}, not a linear layer")
        name = f"{model.family.blocks}.{layer}.{path}"
        inputs = 1 if isinstance(module, nn.Linear) else 0
        return cls(f"{name}.weight", f"{name}.bias", module.bias is not None, inputs)


@dataclass(frozen=True)
class _Edited:
    """The edited parameters of a projection."""

    checkpoint: Checkpoint
    prefix: str
    projection: Projection
    edit: Edit

    def weight(self) -> Tensor:
        """The weight with scaled columns."""
        weight = self.checkpoint.read(self.prefix + self.projection.weight)
        columns = weight.movedim(self.projection.inputs, 1)
        scaled = columns[:, self.edit.neurons].double() * self.edit.factor
        columns[:, self.edit.neurons] = _finite(scaled.to(weight.dtype), self.edit)
        return weight

    def bias(self) -> Tensor:
        """The bias with the levels times the columns."""
        assert self.edit.level is not None
        weight = self.checkpoint.read(self.prefix + self.projection.weight).movedim(self.projection.inputs, 1)
        added = weight[:, self.edit.neurons].double() @ self.edit.level.double()
        name = self.prefix + self.projection.bias
        old = self.checkpoint.read(name).double() if name in self.checkpoint.files else torch.zeros_like(added)
        return _finite((old + added).to(weight.dtype), self.edit)


def _finite(tensor: Tensor, edit: Edit) -> Tensor:
    """The tensor itself.

    Raises:
        ValueError: it has values that are not finite.
    """
    if not tensor.isfinite().all():
        raise ValueError(f"factor {edit.factor:g} makes weights that {tensor.dtype} cannot hold".replace("torch.", ""))
    return tensor


def _check_editable(model: LanguageModel, site: Site) -> None:
    """Check that the weights of a model can express edits at a site.

    Raises:
        ValueError: they cannot.
    """
    if site in {"residual", "mlp_in"}:
        raise ValueError(
            "edits scale the inputs of projections that write to the residual stream: they are possible at the sites "
            f"mlp, mlp_gate and attention, not at {site}"
        )
    if site == "mlp_gate" and model.config.model_type not in FAMILIES:
        raise ValueError(f"edits at mlp_gate are possible for {', '.join(FAMILIES)}, not {model.config.model_type}")
    if model.random_weights is not None:
        raise ValueError(f"the run read permuted weights (model.random_weights={model.random_weights})")
    if getattr(model.config, "quantization_config", None):
        raise ValueError(f"{model.files.id} is quantised; its weights cannot be edited")


def _bias_option(model: LanguageModel, site: Site, plain: nn.Module, levels: Collection[int]) -> str | None:
    """The option of the config that a level needs; None if no bias is missing.

    Raises:
        ValueError: the projection has no bias and the config no option for one.
    """
    if not levels:
        return None
    if site == "mlp_gate":
        raise ValueError(
            "neurons of mlp_gate cannot be held at a level, since other neurons multiply them; use a factor"
        )
    if Projection.of(plain, model, site, min(levels)).has_bias:
        return None
    option = BIAS_OPTIONS[site]
    if not hasattr(model.config, option):
        raise ValueError(
            f"a {model.config.model_type} model cannot hold neurons of {site} at a level: "
            "its projection has no bias; use a factor"
        )
    return option


def _meta_model(model: LanguageModel, options: Mapping[str, Any]) -> nn.Module:
    """The base model with options of the config, on torch's meta device."""
    from transformers import AutoModel

    config = copy.deepcopy(model.config)
    for name, value in options.items():
        setattr(config, name, value)
    with quiet_transformers(), reading_model(model.files.path), torch.device("meta"):
        network: nn.Module = AutoModel.from_config(config, trust_remote_code=False)
    return network


def _copy_other_files(source: Path, folder: Path, option: str | None) -> None:
    """Copy config, tokenizer and licence; ``option`` is enabled in the config."""
    for path in sorted({path for pattern in COPIED for path in source.glob(pattern)}):
        if path.is_file() and path.name != DIGESTS:
            shutil.copyfile(path, folder / path.name)
    if option:
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config.get("text_config", config)[option] = True
        write_json(path, config)
