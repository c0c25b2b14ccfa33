"""Columns of activations in the cache: single neurons on all words of a split."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.activations.entry import Entry
from keyneurons.activations.reader import ActivationReader
from keyneurons.records import SPLITS, Site, Split, Treebank

Places = Mapping[Site, Int[ndarray, "_columns 2"]]
"""Layer and neuron of some columns by site."""

Piece = tuple[Int[ndarray, "_columns 2"], Float[ndarray, "words columns"]]
"""Layer and neuron of the columns that one pass has read, and their activations on all words."""


@dataclass(frozen=True)
class ColumnReader:
    """Reads the activations of single neurons through the cache.

    The cache grows by one array in every pass that reads columns which it lacks; the columns of
    earlier passes are never read or written again.
    """

    read: ActivationReader
    treebank: Treebank
    pieces: dict[tuple[Split, Site], list[Piece]] = field(default_factory=dict, compare=False, repr=False)

    def require(self, places: Places) -> None:
        """Read the columns that the cache lacks, of all sites in one pass over every split."""
        for split in SPLITS:
            if any(len(own) for own in self._missing(split, places).values()):
                with self._entry(split).lock():
                    for site in places:  # another process may have read them meanwhile
                        self.pieces.pop((split, site), None)
                    self._extract(split, self._missing(split, places))

    def __call__(self, split: Split, site: Site, wanted: Int[ndarray, "_columns 2"]) -> Float[ndarray, "words columns"]:
        """The activations of some neurons, by layer and neuron, on all words of a split.

        Call ``require`` first.
        """
        values = np.empty((self.treebank.n_words(split), len(wanted)), dtype=self.read.units_dtype)
        for names, array in self._pieces(split, site):
            at = _find(names, wanted)
            values[:, at >= 0] = array[:, at[at >= 0]]
        return values

    def _missing(self, split: Split, places: Places) -> dict[Site, Int[ndarray, "_columns 2"]]:
        missing: dict[Site, Int[ndarray, "_columns 2"]] = {}
        for site, wanted in places.items():
            known = np.zeros(len(wanted), dtype=bool)
            for names, _ in self._pieces(split, site):
                known |= _find(names, wanted) >= 0
            missing[site] = wanted[~known]
        return missing

    def _pieces(self, split: Split, site: Site) -> list[Piece]:
        """The intact arrays of the cache; damaged ones are read again when they are needed."""
        if (split, site) not in self.pieces:
            entry = self._entry(split)
            numbers = range(self._first_free(entry, site))
            names, arrays = (entry.load_all(series, numbers) for series in self._series(site))
            pairs = [(names[i], arrays[i]) for i in numbers]
            intact = [(own, array) for own, array in pairs if own is not None and array is not None]
            self.pieces[split, site] = [(own.astype(np.int64), array) for own, array in intact]
        return self.pieces[split, site]

    def _extract(self, split: Split, missing: Mapping[Site, Int[ndarray, "_columns 2"]]) -> None:
        missing = {site: own for site, own in missing.items() if len(own)}
        places = {site: sorted(set(own[:, 0].tolist())) for site, own in missing.items()}
        entry, n_words = self._entry(split), self.treebank.n_words(split)
        with ExitStack() as writing:
            partials = {}
            for site, own in missing.items():
                number = self._first_free(entry, site)
                name_series, series = self._series(site)
                shape = n_words, len(own)
                # the names come last: an array without names is ignored
                names = writing.enter_context(entry.write(name_series, [number], own.shape, "float64", own.tolist()))
                names.put(np.arange(len(own)), {number: own})
                partial = writing.enter_context(
                    entry.write(series, [number], shape, self.read.units_dtype, own.tolist())
                )
                partials[site] = number, partial
            for rows, by_site in self.read.stream(self.treebank.splits[split], split, places) if places else ():
                for site, (number, partial) in partials.items():
                    own = missing[site]
                    block = np.empty((len(rows), len(own)), dtype=self.read.units_dtype)
                    for layer, values in by_site[site].items():
                        here = own[:, 0] == layer
                        neurons = torch.from_numpy(own[here, 1]).to(values.device)
                        block[:, here] = values.index_select(1, neurons).cpu().numpy()
                    partial.put(rows, {number: block})
        for site in missing:
            self.pieces.pop((split, site), None)

    def _entry(self, split: Split) -> Entry:
        return self.read.store.entry(self.read.key(self.treebank.splits[split]))

    def _series(self, site: Site) -> tuple[str, str]:
        """Names of the arrays with layer and neuron of the columns, and with their values."""
        place = "-".join((site, *self.read.basis_key))
        return f"names-{place}", f"columns-{place}"

    def _first_free(self, entry: Entry, site: Site) -> int:
        number = 0
        while any(entry.has(series, number) for series in self._series(site)):
            number += 1
        return number


def _find(names: Int[ndarray, "known 2"], wanted: Int[ndarray, "_columns 2"]) -> Int[ndarray, " columns"]:
    """The place of each wanted column among the known ones, or -1."""
    place = {(layer, neuron): i for i, (layer, neuron) in enumerate(names.tolist())}
    return np.array([place.get((layer, neuron), -1) for layer, neuron in wanted.tolist()], dtype=np.int64)
