"""A language model for forward passes, loaded on first use."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keyneurons.choices import Dtype
from keyneurons.digests import file_digest, json_digest
from keyneurons.models.families import Family, block_modules, family_of, site_width, submodule
from keyneurons.models.folders import TOKENIZER_FILES, WEIGHTS, ModelFolder
from keyneurons.models.head import Predictor
from keyneurons.models.loading import covered_model, load_config, load_tokenizer, text_model
from keyneurons.models.permuted import describe_model, permute_matrices
from keyneurons.progress import stage
from keyneurons.records import Site

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

SIZES = (
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
)


class LanguageModel:
    """A model for forward passes; config, tokenizer and weights are loaded on first use.

    Args:
        files: the model's files and identity.
        dtype: number format of the weights; ``auto`` is float32 on a CPU and the checkpoint's
            format on a GPU.
        device: ``auto``, or a torch device.
        device_map: passed to transformers for models larger than one GPU.
        random_weights: seed that permutes the weight matrices of the blocks, as a control; None for
            the trained weights.
        modules: module paths of an unknown architecture.
    """

    def __init__(
        self,
        files: ModelFolder,
        *,
        dtype: Dtype = "auto",
        device: str = "auto",
        device_map: str | None = None,
        random_weights: int | None = None,
        modules: Mapping[Any, str] | None = None,
    ) -> None:
        if random_weights is not None and device_map is not None:
            raise ValueError(f"model.random_weights={random_weights} needs model.device_map=null")
        self.files = files
        self.random_weights = random_weights
        self.needs_head = False  # set by lesions and attribution before weights are checked
        self._dtype = dtype
        self._device = device
        self._device_map = device_map
        self._modules = modules

    def unloaded(self, device: str | None = None) -> LanguageModel:
        """A copy of the model with nothing loaded, optionally on another device."""
        return LanguageModel(
            self.files,
            dtype=self._dtype,
            device=device or self._device,
            device_map=self._device_map,
            random_weights=self.random_weights,
            modules=self._modules,
        )

    @functools.cached_property
    def config(self) -> PreTrainedConfig:
        """The text model's config.

        Raises:
            ValueError: the config cannot be read, or its sizes are invalid.
        """
        return load_config(self.files.path)

    @functools.cached_property
    def family(self) -> Family:
        """The module paths of the architecture."""
        return family_of(self.config.model_type, self._modules)

    @property
    def n_layers(self) -> int:
        """Number of transformer blocks."""
        return int(self.config.num_hidden_layers)

    @property
    def name(self) -> str:
        """The model's id, with the seed of permuted weights."""
        return describe_model(self.files.id, self.random_weights)

    def width(self, site: Site) -> int:
        """Number of neurons of a site in one layer."""
        return site_width(self.config, site)

    @functools.cached_property
    def device(self) -> torch.device:
        """The device of the inputs.

        Raises:
            ValueError: a GPU is requested and torch sees none.
        """
        import torch

        if self._device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        device = torch.device(self._device)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError("model.device=cuda, but torch sees no GPU; use model.device=cpu or auto")
        return device

    @property
    def dtype(self) -> str:
        """Number format of the weights, ``auto`` resolved."""
        if self._dtype != "auto":
            return self._dtype
        if self.device.type == "cpu":
            return "float32"
        return str(getattr(self.config, "dtype", None) or "float32").removeprefix("torch.")

    @functools.cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's fast tokenizer.

        Raises:
            ValueError: the tokenizer gives no character offsets.
        """
        tokenizer = load_tokenizer(self.files.path, self.tokenizer_digest)
        if not tokenizer.is_fast:
            raise ValueError(f"the tokenizer of {self.files.id} gives no character offsets (no tokenizer.json)")
        return tokenizer

    @property
    def identity(self) -> str:
        """Revision of the weights and digest of the tokenizer."""
        return f"{self.files.revision} {self.tokenizer_digest}"

    def check_ids(self, ids: Sequence[int], text: str) -> None:
        """Check that the model has an embedding for every token of a text.

        Raises:
            ValueError: a token id exceeds the model's vocabulary.
        """
        if (worst := max(ids, default=0)) >= (size := int(self.config.vocab_size)):
            token = self.tokenizer.convert_ids_to_tokens(worst)
            raise ValueError(
                f"the tokenizer in {self.files.path} produces token {token!r} (id {worst}) for {text[:40]!r}, but the "
                f"model has embeddings for ids 0..{size - 1}: the tokenizer is another model's or has added tokens"
            )

    @property
    def architecture(self) -> str:
        """Kind and sizes of the model: ``llama num_hidden_layers=30 hidden_size=576 ...``."""
        sizes = {name: getattr(self.config, name, None) for name in SIZES}
        return " ".join([self.config.model_type, *(f"{name}={size}" for name, size in sizes.items() if size)])

    @functools.cached_property
    def tokenizer_digest(self) -> str:
        """Digest of the tokenizer's files."""
        files = sorted({f for pattern in TOKENIZER_FILES for f in self.files.path.glob(pattern)})
        return json_digest({f.name: file_digest(f) for f in files})

    @functools.cached_property
    def network(self) -> nn.Module:
        """The base model, without a head, in evaluation mode on its device.

        Raises:
            ValueError: the weights cannot be read.
        """
        if "predictor" in self.__dict__:
            return self.predictor.base
        from transformers import AutoModel

        return text_model(self._load(AutoModel)).eval()

    def check_causal(self) -> None:
        """Check that the model predicts the next token.

        Raises:
            ValueError: it does not.
        """
        if not self.family.causal:
            raise ValueError(f"{self.files.id} ({self.config.model_type}) does not predict the next token")

    @functools.cached_property
    def predictor(self) -> Predictor:
        """The base model with its language-model head; ``network`` shares the base model with it.

        Raises:
            ValueError: the model does not predict the next token, or the weights cannot be read.
        """
        from transformers import AutoModelForCausalLM

        self.check_causal()
        if self.family.norm is None:
            raise ValueError(f"{self.files.id} ({self.config.model_type}) lacks model.modules.norm, its last norm")
        self.needs_head = True
        self.__dict__.pop("network", None)
        model = self._load(AutoModelForCausalLM).eval().requires_grad_(False)
        base = text_model(model.base_model)
        cap = getattr(self.config, "final_logit_softcapping", None)
        return Predictor(model, base, submodule(base, self.family.norm), model.get_output_embeddings(), cap)

    def _load(self, kind: Any) -> Any:
        """Load the model with one of transformers' auto classes, on its device.

        Raises:
            ValueError: the weights cannot be read.
        """
        import torch

        self.check_weights()  # before memory is allocated
        self.files.check()
        with stage(f"loading {self.files.id}"):
            model = self._covered(kind, dtype=getattr(torch, self.dtype), device_map=self._device_map)
            if self.random_weights is not None:
                permute_matrices(block_modules(text_model(model.base_model), self.family), self.random_weights)
            return model.to(self.device) if self._device_map is None else model

    def check_weights(self) -> None:
        """Compare names and shapes of the local tensors with the config, without reading values.

        Raises:
            ValueError: tensors are missing, unexpected, or of other shapes, or are quantised and
                would be permuted.
        """
        from transformers import AutoModel, AutoModelForCausalLM

        if self.random_weights is not None and getattr(self.config, "quantization_config", None):
            raise ValueError(
                f"model.random_weights={self.random_weights}: {self.files.id} is quantised; set it to null"
            )
        if list(self.files.path.glob(WEIGHTS)):
            self._covered(AutoModelForCausalLM if self.needs_head else AutoModel, device_map="meta")

    def _covered(self, kind: Any, **options: Any) -> Any:
        unread = self.family.unread  # loads and checks the config first
        return covered_model(kind, self.files.path, self.config, unread, **options)
