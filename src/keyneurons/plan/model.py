"""A model as it is planned with: its config is here, its weights may not be."""

from __future__ import annotations

import copy
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
from keyneurons.models.folders import WEIGHTS
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.weights import reading_model
from keyneurons.plan.costs import ITEM_BYTES, Shape
from keyneurons.quiet import quiet_transformers
from keyneurons.records import Site

_TOKENS = 4  # of the sentence that is sent through the empty model


@dataclass(frozen=True)
class PlannedModel:
    """A model, where it would run, and which of its files are here."""

    asked: inputs.Model
    model: LanguageModel
    on_gpu: bool
    weights: bool
    tokenizer: bool

    @classmethod
    def of(cls, asked: inputs.Model, cache: Path, *, gpu_wanted: bool) -> PlannedModel:
        """Find its files; a GPU that is asked for need not be here.

        Args:
            asked: the model's part of the configuration.
            cache: where the packaged model is.
            gpu_wanted: whether the run cannot be without a GPU, whatever the model's part says.

        Returns:
            The model.

        Raises:
            FileNotFoundError: not even the model's config is here, and it cannot be fetched.
        """
        files = build_model_source(asked, cache).fetch_config()
        gpu = torch.cuda.is_available()
        on_gpu = asked.device.startswith("cuda") or (asked.device == "auto" and (gpu or gpu_wanted))
        model = build_model(asked if gpu else asked.model_copy(update={"device": "cpu"}), files)
        if on_gpu and asked.dtype == "auto":
            named = str(getattr(model.config, "dtype", None) or "float32").removeprefix("torch.")
            return cls.of(asked.model_copy(update={"dtype": named}), cache, gpu_wanted=gpu_wanted)
        weights = asked.random_weights or bool(list(files.path.glob(WEIGHTS)))
        return cls(asked, model, on_gpu, weights, _has_tokenizer(files.path))

    @property
    def dtype(self) -> Literal["float32", "bfloat16", "float16"]:
        """Number format of the weights.

        Raises:
            ValueError: the checkpoint names another one than the model can be run in.
        """
        match self.model.dtype:
            case "float32" | "bfloat16" | "float16" as known:
                return known
            case other:
                raise ValueError(f"model.dtype must be float32, bfloat16 or float16; the config says {other!r}")

    def shape(self) -> Shape:
        """The model's sizes, counted on a model without memory behind it."""
        model, config = empty(self.model), self.model.config
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
    """Elements of the weight matrices that are multiplied in a pass that reads some layers of a site.

    Asked of an empty model: a sentence goes through it as through a real one, and ends where the last layer is read.
    """
    network, ran = empty(model), dict[str, int]()
    inputs: dict[str, Any] = {
        "input_ids": torch.zeros(1, _TOKENS, dtype=torch.long, device="meta"),
        # a mask in its final form, lest the model looks for packed sentences among tokens that do not exist
        "attention_mask": torch.zeros(1, 1, _TOKENS, _TOKENS, device="meta"),
        "use_cache": False,
    }
    if "position_ids" in inspect.signature(network.forward).parameters:  # else some models count them from a flat mask
        inputs["position_ids"] = torch.zeros(1, _TOKENS, dtype=torch.long, device="meta")
    with _noting(network, model, ran), capture(network, model.family, {site: layers}) as reading:
        reading(inputs, lambda hidden: hidden.shape)
    return sum(ran.values())


def empty(model: LanguageModel) -> Any:
    """The base model on torch's meta device: all modules and shapes, no numbers."""
    from transformers import AutoModel

    with quiet_transformers(), reading_model(model.files.path), torch.device("meta"):
        return AutoModel.from_config(model.config, trust_remote_code=False).eval()


@contextmanager
def _noting(network: nn.Module, model: LanguageModel, ran: dict[str, int]) -> Generator[None]:
    """Note the size of every weight matrix of a block that is run."""

    def note(name: str) -> Any:
        return lambda module, _, __: ran.__setitem__(name, module.weight.numel())

    handles = [
        module.register_forward_hook(note(f"{number}.{name}"))
        for number, block in enumerate(block_modules(network, model.family))
        for name, module in block.named_modules()
        # a matrix, whatever the class is called: GPT-2's linear layers are Conv1D
        if getattr(getattr(module, "weight", None), "ndim", 0) == 2
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"))


def one_block(planned: PlannedModel, folder: Path) -> LanguageModel:
    """A model of one block of the same shape with random weights and hardly any words, described in a folder."""
    config: Any = copy.deepcopy(planned.model.config)
    small: Mapping[str, Any] = {"num_hidden_layers": 1, "vocab_size": 256, "pad_token_id": 0}
    for name, value in small.items():
        setattr(config, name, value)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:1]
    config.to_json_file(folder / "config.json")
    files = replace(planned.model.files, path=folder)
    return LanguageModel(
        files,
        dtype=planned.dtype,
        device=str(planned.model.device),
        random_weights=True,
        modules=planned.asked.modules,
    )
