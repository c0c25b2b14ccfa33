"""Reading settings: everything that the activations of a text depend on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.alignment import Encoded, Encoder
from keyneurons.activations.extract import Taken, plan_batches
from keyneurons.choices import KeptDtype, Pooling, ReadAt
from keyneurons.digests import texts_digest
from keyneurons.models.language_model import LanguageModel
from keyneurons.records import Sentence, Site


@dataclass(frozen=True)
class ReadingSettings:
    """Model, site, layers and options of reading.

    Args:
        model: the model; its weights are loaded only if activations are missing.
        site: the site in the block.
        layers: block numbers, 0-based.
        bos: ``auto`` (the tokenizer's), a token, or None for no BOS token.
        read_at: at the word, or at the token before it, where the model predicts it.
        pooling: the tokens of a word that are read.
        batch_tokens: tokens per forward pass, padding included.
        dtype: number format of the stored activations.
    """

    model: LanguageModel
    site: Site
    layers: tuple[int, ...]
    bos: str | None = "auto"
    read_at: ReadAt = "word"
    pooling: Pooling = "last"
    batch_tokens: int = 2048
    dtype: KeptDtype = "float16"

    def __post_init__(self) -> None:
        if self.read_at == "prediction" and not self.model.family.causal:
            raise ValueError(
                f"read_at=prediction needs a model that predicts the next token; {self.model.files.id} "
                f"({self.model.config.model_type}) does not"
            )

    def key(self, sentences: Sequence[Sentence]) -> dict[str, object]:
        """The cache key: everything that the activations depend on except site and layer."""
        return {
            "model": self.model.files.id,
            "revision": self.model.files.revision,
            "random_weights": self.model.random_weights,
            "modules": {name: path for name, path in asdict(self.model.family).items() if name != "norm"},
            "model_dtype": self.model.dtype,
            "tokenizer": self.model.tokenizer_digest,
            "texts": texts_digest(sentences),
            "bos": self.bos_id(),
            "read_at": self.read_at,
            "pooling": self.pooling if self.read_at == "word" else None,
            "dtype": self.dtype,
        }

    def bos_id(self) -> int | None:
        """Id of the BOS token put before every sentence.

        Raises:
            ValueError: the tokenizer has no such token.
        """
        tokenizer = self.model.tokenizer
        if self.bos is None:
            return None
        if self.bos == "auto":
            token_id = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.cls_token_id
            if token_id is None:
                raise ValueError(
                    f"the tokenizer of {self.model.files.id} has no BOS token; set model.bos=TOKEN or model.bos=null"
                )
            return int(token_id)
        token_id = tokenizer.backend_tokenizer.token_to_id(self.bos)
        if token_id is None:
            raise ValueError(f"model.bos={self.bos!r} is not in the vocabulary of {self.model.files.id}")
        return int(token_id)

    def token_counts(self, sentences: Sequence[Sentence]) -> Int[ndarray, " words"]:
        """Number of tokens of every word, for any pooling; the model is not loaded.

        A token that spans several words counts for each.

        Raises:
            ValueError: a word overlaps no token; the message names the sentence.
        """
        encoded = Encoder(self.model.tokenizer, bos=None, pooling="mean")(sentences)  # mean reads all tokens
        return np.array([last - first + 1 for e in encoded for first, last in e.reads], dtype=np.int64)

    def encode(self, sentences: Sequence[Sentence]) -> list[Encoded]:
        """Token ids and reading positions of every sentence.

        Raises:
            ValueError: a word cannot be aligned, or a sentence exceeds the model's context length.
        """
        tokenizer, family = self.model.tokenizer, self.model.family
        eos = None if family.causal else tokenizer.sep_token_id
        encoded = Encoder(tokenizer, self.bos_id(), eos, self.read_at, self.pooling)(sentences)
        limit = getattr(self.model.config, "max_position_embeddings", None)
        for sentence, e in zip(sentences, encoded, strict=True):
            self.model.check_ids(e.ids, sentence.text)
            if limit is not None and len(e.ids) > limit:
                raise ValueError(
                    f"sentence {sentence.id} has {len(e.ids)} tokens; {self.model.files.id} takes at most {limit}"
                )
        return encoded

    def batches(self, encoded: Sequence[Encoded]) -> list[list[int]]:
        """The sentence numbers of every batch."""
        return plan_batches([len(e.ids) for e in encoded], self.batch_tokens)

    def checked(self, taken: Taken, site: Site, layer: int) -> Float[Tensor, "words neurons"]:
        """A layer's activations of the words of a batch, checked to be finite.

        Raises:
            ValueError: an activation is not finite; the message names the model.
        """
        try:
            return taken.check(f"{site} layer {layer}")
        except ValueError as error:
            raise ValueError(f"{error} (model {self.model.files.path})") from error
