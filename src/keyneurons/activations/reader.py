"""Activations of a split: from the cache where they are, else by one pass over the text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.alignment import Encoded, Encoder, Pooling, ReadAt
from keyneurons.activations.capture import capture
from keyneurons.activations.extract import Taken, plan_batches
from keyneurons.activations.filling import fill, fill_share, passes
from keyneurons.activations.partial import PartialArrays
from keyneurons.activations.processes import Processes
from keyneurons.activations.store import ActivationStore, Entry
from keyneurons.digests import texts_digest
from keyneurons.models.language_model import LanguageModel
from keyneurons.records import Sentence, Site


@dataclass(frozen=True)
class ActivationReader:
    """Reads the activations of one model at one site, and keeps them.

    Args:
        model: the model; it is loaded only when something is missing.
        store: the cache.
        site: where in the block to read.
        layers: block numbers, 0-based.
        bos: ``auto`` (the tokenizer's), a token, or None for no token in front.
        read_at: at the word, or at the token before it, where it is predicted.
        pooling: which tokens of a word count.
        batch_tokens: tokens per forward pass, padding included.
        dtype: number format on disk.
        together: by site layers that others will ask for; where a pass is needed anyway, it brings them too.
        processes: who shares a pass.
    """

    model: LanguageModel
    store: ActivationStore
    site: Site
    layers: tuple[int, ...]
    bos: str | None = "auto"
    read_at: ReadAt = "word"
    pooling: Pooling = "last"
    batch_tokens: int = 2048
    dtype: Literal["float16", "float32"] = "float16"
    together: Mapping[Site, tuple[int, ...]] = field(default_factory=dict)
    processes: Processes = Processes()

    def __post_init__(self) -> None:
        if self.read_at == "prediction" and not self.model.family.causal:
            raise ValueError(
                f"read_at=prediction needs a model that predicts the next token; {self.model.files.id} "
                f"({self.model.config.model_type}) does not"
            )

    def __call__(self, sentences: Sequence[Sentence], name: str) -> Mapping[int, Float[ndarray, "words neurons"]]:
        """Activations of all words of some sentences, in order.

        Args:
            sentences: the sentences of one split.
            name: what to call them on the progress bar.

        Returns:
            By layer a memory-mapped array ``[words, neurons]``.

        Raises:
            ValueError: a word cannot be aligned, or an activation is not finite.
            OSError: the disk is full.
        """
        entry = self.store.entry(self.key(sentences))
        arrays = entry.load_all(self.site, self.layers) if self.processes.first else {}
        if self.processes.alone and all(array is not None for array in arrays.values()):
            return {layer: _present(array, entry) for layer, array in arrays.items()}
        with entry.lock() if self.processes.first else nullcontext():
            missing = [layer for layer, array in arrays.items() if array is None]
            arrays |= entry.load_all(self.site, missing)  # another process may have brought them in the meantime
            wanted = self.processes.agree(self._wanted(entry, arrays))
            if wanted:
                self._extract(entry, sentences, wanted, name)
        arrays |= entry.load_all(self.site, [layer for layer in self.layers if arrays.get(layer) is None])
        return {layer: _present(arrays[layer], entry) for layer in self.layers}

    def _wanted(self, entry: Entry, arrays: Mapping[int, ndarray | None]) -> dict[Site, list[int]]:
        """What a pass over the text is to read: nothing if all of ours is there, else also what others will want."""
        missing = {layer for layer, array in arrays.items() if array is None}
        if not missing:
            return {}
        wanted = {site: {i for i in layers if not entry.has(site, i)} for site, layers in self.together.items()}
        wanted[self.site] = wanted.get(self.site, set()) - arrays.keys() | missing
        return {site: sorted(layers) for site, layers in wanted.items() if layers}

    def kept(self, sentences: Sequence[Sentence]) -> bool:
        """Whether the cache has the activations of some sentences, be they damaged."""
        entry = self.store.entry(self.key(sentences))
        return all(entry.has(self.site, layer) for layer in self.layers)

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

    def stream(
        self, sentences: Sequence[Sentence], name: str
    ) -> Iterator[tuple[Int[ndarray, " some"], Mapping[int, Float[Tensor, "some neurons"]]]]:
        """One pass over the text that keeps nothing.

        Args:
            sentences: the sentences of one split.
            name: what to call them on the progress bar.

        Yields:
            Positions of some words among all, and by layer their activations as they would be stored.
        """
        encoded = self.encode(sentences)
        plan = plan_batches([len(e.ids) for e in encoded], self.batch_tokens)
        with capture(self.model.network, self.model.family, {self.site: self.layers}) as reading:
            for rows, taken in passes(self, reading, encoded, plan, 0, name, to_cpu=False):
                yield (
                    rows,
                    {i: self.checked(kept, self.site, i) for i, kept in taken[self.site].items()},
                )

    def checked(self, taken: Taken, site: Site, layer: int) -> Float[Tensor, "words neurons"]:
        """What is kept of a layer for the words of a batch.

        Raises:
            ValueError: an activation is not finite; the model is named.
        """
        try:
            return taken.check(f"{site} layer {layer}")
        except ValueError as error:
            raise ValueError(f"{error} (model {self.model.files.path})") from error

    def _extract(
        self, entry: Entry, sentences: Sequence[Sentence], places: Mapping[Site, Sequence[int]], name: str
    ) -> None:
        """Fill the cache with layers of some sites, in this process or in several."""
        encoded = self.encode(sentences)
        n_words, number = sum(len(e.reads) for e in encoded), self.processes.number
        plan = self.batch_tokens if number == 1 else [self.batch_tokens, number]
        with ExitStack() as writing:
            partials: dict[Site, PartialArrays] = {}
            for site, layers in places.items() if self.processes.first else ():
                shape = n_words, self.model.width(site)
                partials[site] = writing.enter_context(entry.write(site, layers, shape, self.dtype, plan))
            if self.processes.alone:
                fill(self, encoded, partials, places, name)
            else:
                for partial in partials.values():
                    partial.checkpoint()  # from now on what the others write is kept
                folders = self.processes.agree({site: partial.folder for site, partial in partials.items()})
                self.processes.share(
                    fill_share, reader=self, sentences=sentences, folders=folders, places=places, name=name
                )
        self.processes.wait()  # until the arrays are in the cache

    def __getstate__(self) -> dict[str, Any]:
        """For another process: itself, with a model that is not loaded."""
        return {**self.__dict__, "model": self.model.unloaded(), "processes": Processes()}


def _present(array: ndarray | None, entry: Entry) -> ndarray:
    if array is None:
        raise OSError(f"{entry.folder} was damaged while it was read; run again")
    return array
