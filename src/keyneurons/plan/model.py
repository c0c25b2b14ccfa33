"""The model of a plan, with or without local weights."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from keyneurons.activations.capture import capture
from keyneurons.build.reader import build_model, build_model_source
from keyneurons.config import inputs
from keyneurons.models.families import block_modules, site_width
from keyneurons.models.folders import WEIGHTS, ModelFolder
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.weights import reading_model
from keyneurons.plan.costs import ITEM_BYTES, Shape
from keyneurons.quiet import quiet_transformers
from keyneurons.records import Site

CONFIGS = Path(__file__).parent / "configs"
"""Configs of the models that ``conf/model`` names, shipped so that a plan needs no network."""

_TOKENS = 4  # length of the sentence for the meta model


@dataclass(frozen=True)
class PlannedModel:
    """A model, its device, and which of its files are local."""

    settings: inputs.Model
    model: LanguageModel
    on_gpu: bool
    weights: bool
    tokenizer: bool

    @classmethod
    def of(cls, settings: inputs.Model, cache: Path, *, gpu_wanted: bool) -> PlannedModel:
        """Find the model's files; a requested GPU may be missing on this machine.

        Args:
            settings: the model's part of the configuration.
            cache: folder of the packaged model.
            gpu_wanted: whether another part of the configuration requests a GPU.

        Returns:
            The model.

        Raises:
            FileNotFoundError: the model's config is missing and cannot be fetched.
        """
        files = _config_of(settings, cache)
        gpu = torch.cuda.is_available()
        on_gpu = settings.device.startswith("cuda") or (settings.device == "auto" and (gpu or gpu_wanted))
        model = build_model(settings if gpu else settings.model_copy(update={"device": "cpu"}), files)
        if on_gpu and settings.dtype == "auto":
            dtype = str(getattr(model.config, "dtype", None) or "float32").removeprefix("torch.")
            return cls.of(settings.model_copy(update={"dtype": dtype}), cache, gpu_wanted=gpu_wanted)
        weights = bool(list(files.path.glob(WEIGHTS)))
        return cls(settings, model, on_gpu, weights, _has_tokenizer(files.path))

    @property
    def dtype(self) -> Literal["float32", "bfloat16", "float16"]:
        """Number format of the weights.

        Raises:
            ValueError: the checkpoint has another number format.
        """
        match self.model.dtype:
            case "float32" | "bfloat16" | "float16" as dtype:
                return dtype
            case other:
                raise ValueError(f"model.dtype must be float32, bfloat16 or float16; the config says {other!r}")

    def shape(self) -> Shape:
        """The model's sizes, counted on torch's meta device."""
        model, config = meta_model(self.model), self.model.config
        heads = int(config.num_attention_heads)
        attention = site_width(config, "attention")
        of_blocks = [sum(p.numel() for p in block.parameters()) for block in block_modules(model, self.model.family)]
        return Shape(
            parameters=sum(p.numel() for p in model.parameters()),
            block_parameters=max(of_blocks),
            hidden=int(config.hidden_size),
            inner=site_width(config, "mlp"),
            heads=heads,
            attention=attention,
            keys=attention // heads * int(getattr(config, "num_key_value_heads", None) or heads),
            whole_scores=model.config._attn_implementation == "eager",
            item_bytes=ITEM_BYTES[self.dtype],
        )


def weights_run(model: LanguageModel, site: Site, layers: tuple[int, ...]) -> int:
    """Elements of the weight matrices used by a pass that reads some layers of a site.

    Counted in a pass of the meta model, which ends where the last layer is read.
    """
    network, sizes = meta_model(model), dict[str, int]()
    inputs: dict[str, Any] = {
        "input_ids": torch.zeros(1, _TOKENS, dtype=torch.long, device="meta"),
        # a mask in its final form, since models inspect the values of a flat mask
        "attention_mask": torch.zeros(1, 1, _TOKENS, _TOKENS, device="meta"),
        "use_cache": False,
    }
    if "position_ids" in inspect.signature(network.forward).parameters:  # some models derive them from a flat mask
        inputs["position_ids"] = torch.zeros(1, _TOKENS, dtype=torch.long, device="meta")
    with _record_sizes(network, model, sizes), capture(network, model.family, {site: layers}) as reading:
        reading(inputs, lambda hidden: hidden.shape)
    return sum(sizes.values())


def meta_model(model: LanguageModel) -> Any:
    """The base model on torch's meta device: all modules and shapes, no values."""
    from transformers import AutoModel

    with quiet_transformers(), reading_model(model.files.path), torch.device("meta"):
        return AutoModel.from_config(model.config, trust_remote_code=False).eval()


@contextmanager
def _record_sizes(network: nn.Module, model: LanguageModel, sizes: dict[str, int]) -> Generator[None]:
    """Record the size of every weight matrix that the blocks use."""

    def record(name: str) -> Any:
        return lambda module, _, __: sizes.__setitem__(name, module.weight.numel())

    handles = [
        module.register_forward_hook(record(f"{number}.{name}"))
        for number, block in enumerate(block_modules(network, model.family))
        for name, module in block.named_modules()
        # matrices of any class: GPT-2's linear layers are Conv1D
        if getattr(getattr(module, "weight", None), "ndim", 0) == 2
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _config_of(settings: inputs.Model, cache: Path) -> ModelFolder:
    """The model's files without a download of weights, or the config that this package ships.

    Raises:
        FileNotFoundError: there is neither.
    """
    try:
        return build_model_source(settings, cache).fetch_config()
    except FileNotFoundError:
        id = getattr(settings, "id", "")
        folder = CONFIGS / id.replace("/", "--")
        if not id or not (folder / "config.json").is_file():
            raise
        return ModelFolder(folder, id, "shipped config")


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"))


class _UntrainedModel(LanguageModel):
    """A model with random weights, whose speed is that of the trained one."""

    @functools.cached_property
    def network(self) -> nn.Module:
        """The base model, without a head."""
        from transformers import AutoModel

        with quiet_transformers(), reading_model(self.files.path):
            with torch.device("meta"):
                model: nn.Module = AutoModel.from_config(
                    self.config, dtype=getattr(torch, self.dtype), trust_remote_code=False
                )
            model = model.to_empty(device=self.device)
        _fill(model)
        return model.eval()


@torch.no_grad()
def _fill(model: nn.Module) -> None:
    """Fill all weights and buffers with repeated small random numbers, much faster than draws."""
    drawn = 0.02 * torch.randn(2**20, generator=torch.Generator().manual_seed(0))
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            flat, numbers = tensor.view(-1), drawn.to(tensor)
            for first in range(0, len(flat), len(numbers)):
                part = flat[first : first + len(numbers)]
                part.copy_(numbers[: len(part)])


def one_block(planned: PlannedModel, folder: Path) -> LanguageModel:
    """A model of one block with random weights and a small vocabulary, its config in ``folder``."""
    config: Any = copy.deepcopy(planned.model.config)
    small: Mapping[str, Any] = {"num_hidden_layers": 1, "vocab_size": 256, "pad_token_id": 0}
    for name, value in small.items():
        setattr(config, name, value)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:1]
    config.to_json_file(folder / "config.json")
    files = replace(planned.model.files, path=folder)
    device, modules = str(planned.model.device), planned.settings.modules
    return _UntrainedModel(files, dtype=planned.dtype, device=device, modules=modules)
