"""Activations of a split, from the cache or by one pass over the text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.capture import capture
from keyneurons.activations.entry import Entry
from keyneurons.activations.filling import ShareFiller, fill, passes
from keyneurons.activations.partial import PartialArrays
from keyneurons.activations.processes import Processes, Sharing
from keyneurons.activations.settings import ReadingSettings
from keyneurons.activations.store import ActivationStore
from keyneurons.arrays import Stored
from keyneurons.basis.basis import NEURONS, Basis
from keyneurons.records import Sentence, Site

UNITS_AT_ONCE = 2**25  # of streamed words: 128 MB in float32


@dataclass(frozen=True)
class ActivationReader(ReadingSettings):
    """Reads the activations of one model at one site, through the cache.

    Args:
        store: the cache, which has the activations of neurons whatever the basis is.
        basis: the units that take the place of neurons in everything that is read.
        prefetch: layers by site that later runs need; a pass that is needed anyway reads them too.
        processes: the processes that share a pass.
    """

    store: ActivationStore = field(kw_only=True)
    basis: Basis = field(default=NEURONS, kw_only=True)
    prefetch: Mapping[Site, tuple[int, ...]] = field(default_factory=dict, kw_only=True)
    processes: Sharing = field(default=Processes(), kw_only=True)

    @property
    def units(self) -> int:
        """Number of units of a layer: of neurons, unless there is another basis."""
        return self.basis.units(self.model.width(self.site))

    @property
    def units_dtype(self) -> str:
        """Number format of single units in the cache: other units than neurons are not rounded."""
        return self.dtype if self.basis == NEURONS else "float32"

    @property
    def basis_key(self) -> tuple[str, ...]:
        """What cached results depend on besides the activations; empty for neurons."""
        return () if self.basis == NEURONS else (self.basis.digest,)

    def of_neurons(self) -> ActivationReader:
        """The same reader without a basis."""
        return replace(self, basis=NEURONS)

    def __call__(self, sentences: Sequence[Sentence], name: str) -> Mapping[int, Float[Stored, "words neurons"]]:
        """Activations of all words of some sentences, in order.

        Args:
            sentences: the sentences of one split.
            name: name of the split on the progress bar.

        Returns:
            Memory-mapped arrays ``[words, neurons]`` by layer; of another basis, arrays that encode
            the units when they are read.

        Raises:
            ValueError: a word cannot be aligned, or an activation is not finite.
            OSError: the disk is full.
        """
        entry = self.store.entry(self.key(sentences))
        arrays = entry.load_all(self.site, self.layers) if self.processes.first else {}
        if self.processes.alone and all(array is not None for array in arrays.values()):
            return {layer: self.basis.stored(layer, _require(array, entry)) for layer, array in arrays.items()}
        with entry.lock() if self.processes.first else nullcontext():
            missing = [layer for layer, array in arrays.items() if array is None]
            arrays |= entry.load_all(self.site, missing)  # another process may have written them meanwhile
            places = self.processes.broadcast(self._places(entry, arrays))
            if places:
                self._extract(entry, sentences, places, name)
        missing = [layer for layer in self.layers if arrays.get(layer) is None]
        arrays |= entry.load_all(self.site, missing, verify=not self.processes.first)
        return {layer: self.basis.stored(layer, _require(arrays[layer], entry)) for layer in self.layers}

    def _places(self, entry: Entry, arrays: Mapping[int, ndarray | None]) -> dict[Site, list[int]]:
        """Layers to read by site: missing and prefetched ones, or none if none is missing."""
        missing = {layer for layer, array in arrays.items() if array is None}
        if not missing:
            return {}
        places = {site: {i for i in layers if not entry.has(site, i)} for site, layers in self.prefetch.items()}
        places[self.site] = places.get(self.site, set()) - arrays.keys() | missing
        return {site: sorted(layers) for site, layers in places.items() if layers}

    def missing(self, sentences: Sequence[Sentence]) -> tuple[int, ...]:
        """The layers that the cache lacks for some sentences; damaged arrays are not detected."""
        entry = self.store.entry(self.key(sentences))
        return tuple(layer for layer in self.layers if not entry.has(self.site, layer))

    def stream(
        self, sentences: Sequence[Sentence], name: str, places: Mapping[Site, Sequence[int]] | None = None
    ) -> Iterator[tuple[Int[ndarray, " some"], Mapping[Site, Mapping[int, Float[Tensor, "some _neurons"]]]]]:
        """One pass over the text that stores nothing.

        Args:
            sentences: the sentences of one split.
            name: name of the split on the progress bar.
            places: layers to read by site; by default those of the reader.

        Yields:
            Rows of some words, and by site and layer their activations in the number format of the
            cache; at the reader's site those of units.
        """
        places = {self.site: self.layers} if places is None else places
        encoded = self.encode(sentences)
        plan = self.batches(encoded)
        with capture(self.model.network, self.model.family, places) as reading:
            for rows, taken in passes(self, reading, encoded, plan, 0, name, to_cpu=False):
                values = {
                    site: {layer: self.checked(kept, site, layer) for layer, kept in of_site.items()}
                    for site, of_site in taken.items()
                }
                yield from self._in_units(rows, values)

    def _in_units(
        self, rows: Int[ndarray, " some"], values: Mapping[Site, Mapping[int, Float[Tensor, "some _neurons"]]]
    ) -> Iterator[tuple[Int[ndarray, " _fewer"], Mapping[Site, Mapping[int, Float[Tensor, "_fewer _units"]]]]]:
        """Encode the activations at the reader's site, some words at a time."""
        if self.basis == NEURONS or self.site not in values:
            yield rows, values
            return
        at_once = max(1, UNITS_AT_ONCE // (self.units * len(values[self.site])))
        for first in range(0, len(rows), at_once):
            here = slice(first, first + at_once)
            piece = {site: {layer: own[here] for layer, own in of_site.items()} for site, of_site in values.items()}
            units = {layer: self.basis.encode(layer, own) for layer, own in piece[self.site].items()}
            yield rows[here], {**piece, self.site: units}

    def _extract(
        self, entry: Entry, sentences: Sequence[Sentence], places: Mapping[Site, Sequence[int]], name: str
    ) -> None:
        """Write layers of some sites to the cache, in this process or in several."""
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
                    partial.checkpoint()  # so that rows of the other processes survive an interruption
                folders = self.processes.broadcast({site: partial.folder for site, partial in partials.items()})
                self.processes.launch(
                    ShareFiller, settings=self, sentences=sentences, folders=folders, places=places, name=name
                )
        self.processes.wait()  # for the arrays to be in the cache

    def __getstate__(self) -> dict[str, Any]:
        """State for another process, which reads neurons: the reader with an unloaded model."""
        return {**self.__dict__, "model": self.model.unloaded(), "processes": Processes(), "basis": NEURONS}


def _require(array: ndarray | None, entry: Entry) -> ndarray:
    if array is None:
        raise OSError(f"{entry.folder} was damaged during the run; run again")
    return array
