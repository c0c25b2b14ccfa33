"""What is read of a model, and how: all that the activations of a text depend on."""

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
    """What is read of a model, and how.

    Args:
        model: the model; it is loaded only when something is missing.
        site: where in the block to read.
        layers: block numbers, 0-based.
        bos: ``auto`` (the tokenizer's), a token, or None for no token in front.
        read_at: at the word, or at the token before it, where it is predicted.
        pooling: which tokens of a word count.
        batch_tokens: tokens per forward pass, padding included.
        dtype: number format of what is kept.
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
        """All that the activations depend on, site and layer apart."""
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
        """Id of the token put in front of every sentence.

        Raises:
            ValueError: the tokenizer has no such token.
        """
        tokenizer = self.model.tokenizer
        if self.bos is None:
            return None
        if self.bos == "auto":
            found = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.cls_token_id
            if found is None:
                raise ValueError(
                    f"the tokenizer of {self.model.files.id} names no BOS token; "
                    "give one (model.bos=TOKEN) or model.bos=null"
                )
            return int(found)
        found = tokenizer.backend_tokenizer.token_to_id(self.bos)
        if found is None:
            raise ValueError(f"model.bos={self.bos!r} is not in the vocabulary of {self.model.files.id}")
        return int(found)

    def token_counts(self, sentences: Sequence[Sentence]) -> Int[ndarray, " words"]:
        """Number of tokens of every word, in order, whatever is read of it; the model is not loaded.

        A token that spans several words counts for each.

        Raises:
            ValueError: a word overlaps no token; the sentence is named.
        """
        encoded = Encoder(self.model.tokenizer, bos=None, pooling="mean")(sentences)  # reads all tokens of a word
        return np.array([last - first + 1 for e in encoded for first, last in e.reads], dtype=np.int64)

    def encode(self, sentences: Sequence[Sentence]) -> list[Encoded]:
        """Token ids and reading positions of every sentence.

        Raises:
            ValueError: a word cannot be aligned, or a sentence is longer than the model takes.
        """
        tokenizer, family = self.model.tokenizer, self.model.family
        eos = None if family.causal else tokenizer.sep_token_id
        encoded = Encoder(tokenizer, self.bos_id(), eos, self.read_at, self.pooling)(sentences)
        limit = getattr(self.model.config, "max_position_embeddings", None)
        for sentence, e in zip(sentences, encoded, strict=True):
            self.model.check_ids(e.ids, sentence.text)
            if limit is not None and len(e.ids) > limit:
                raise ValueError(f"sentence {sentence.id} has {len(e.ids)} tokens; {self.model.files.id} takes {limit}")
        return encoded

    def batches(self, encoded: Sequence[Encoded]) -> list[list[int]]:
        """Which of some sentences go through the model together, batch by batch."""
        return plan_batches([len(e.ids) for e in encoded], self.batch_tokens)

    def checked(self, taken: Taken, site: Site, layer: int) -> Float[Tensor, "words neurons"]:
        """What is kept of a layer for the words of a batch.

        Raises:
            ValueError: an activation is not finite; the model is named.
        """
        try:
            return taken.check(f"{site} layer {layer}")
        except ValueError as error:
            raise ValueError(f"{error} (model {self.model.files.path})") from error
