"""Activations of a split: from the cache where they are, else by one pass over the text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.capture import capture
from keyneurons.activations.entry import Entry
from keyneurons.activations.filling import fill, fill_share, passes
from keyneurons.activations.partial import PartialArrays
from keyneurons.activations.processes import Processes
from keyneurons.activations.settings import ReadingSettings
from keyneurons.activations.store import ActivationStore
from keyneurons.records import Sentence, Site


@dataclass(frozen=True)
class ActivationReader(ReadingSettings):
    """Reads the activations of one model at one site, and keeps them.

    Args:
        store: the cache.
        together: by site layers that others will ask for; where a pass is needed anyway, it brings them too.
        processes: who shares a pass.
    """

    store: ActivationStore = field(kw_only=True)
    together: Mapping[Site, tuple[int, ...]] = field(default_factory=dict, kw_only=True)
    processes: Processes = field(default=Processes(), kw_only=True)

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

    def missing(self, sentences: Sequence[Sentence]) -> tuple[int, ...]:
        """The layers whose activations of some sentences the cache lacks; it may have others that are damaged."""
        entry = self.store.entry(self.key(sentences))
        return tuple(layer for layer in self.layers if not entry.has(self.site, layer))

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
        plan = self.batches(encoded)
        with capture(self.model.network, self.model.family, {self.site: self.layers}) as reading:
            for rows, taken in passes(self, reading, encoded, plan, 0, name, to_cpu=False):
                yield (
                    rows,
                    {i: self.checked(kept, self.site, i) for i, kept in taken[self.site].items()},
                )

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
                    fill_share, settings=self, sentences=sentences, folders=folders, places=places, name=name
                )
        self.processes.wait()  # until the arrays are in the cache

    def __getstate__(self) -> dict[str, Any]:
        """For another process: itself, with a model that is not loaded."""
        return {**self.__dict__, "model": self.model.unloaded(), "processes": Processes()}


def _present(array: ndarray | None, entry: Entry) -> ndarray:
    if array is None:
        raise OSError(f"{entry.folder} was damaged while it was read; run again")
    return array
