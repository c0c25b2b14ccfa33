"""Moments of activations in the cache: one pass over the text serves every method of sums."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.entry import Entry
from keyneurons.activations.reader import ActivationReader
from keyneurons.data.word_features import sentence_of_rows
from keyneurons.pipeline.moment_arrays import FORMAT, array_of_moments, moments_of_array, series_of
from keyneurons.records import Site, Treebank
from keyneurons.selection.interface import naming_neurons
from keyneurons.selection.moments import Moments
from keyneurons.selection.scorer import tag_counts
from keyneurons.selection.tagged_words import Family, FamilySums, TaggedWords, families
from keyneurons.selection.views import OF_ACTIVATIONS, View

WORDS_NEEDED = "this method needs the values of words: sample_words=N, or activations.store=true"


@dataclass(frozen=True)
class MomentReader:
    """Reads the moments of the train words of a treebank, through the cache.

    A pass that is needed anyway also gathers the ``planned`` taggings, all views of activations,
    and the layers that later runs need (``read.prefetch``).
    """

    read: ActivationReader
    treebank: Treebank
    planned: tuple[TaggedWords, ...] = ()

    @property
    def places(self) -> dict[Site, tuple[int, ...]]:
        """The layers of each site that a pass reads."""
        planned = {} if self.read.basis_key else self.read.prefetch  # of neurons
        places: dict[Site, set[int]] = {site: set(layers) for site, layers in planned.items()}
        places.setdefault(self.read.site, set()).update(self.read.layers)
        return {site: tuple(sorted(layers)) for site, layers in places.items()}

    def __call__(self, taggings: Sequence[TaggedWords], views: Collection[View]) -> dict[View, list[Moments]]:
        """Moments of some views under every tagging, the layers of the reader concatenated.

        Raises:
            OSError: If an array was damaged during the run.
        """
        entry = self._entry
        found = self._load(entry, taggings, views)
        if found is None:
            with entry.lock():
                self._gather(entry, taggings, views)
                found = self._load(entry, taggings, views)
        if found is None:
            raise OSError(f"{entry.folder} was damaged during the run; run again")
        return found

    def identity(self) -> tuple[object, ...]:
        """Everything that the moments of a tagging depend on, except the tagging."""
        return FORMAT, self._entry.folder.name, self.read.site, self.read.layers, *self.read.basis_key

    @property
    def _entry(self) -> Entry:
        return self.read.store.entry(self.read.key(self.treebank.splits["train"]))

    def _series(self, site: Site, view: View, words: TaggedWords) -> str:
        return series_of(site, view, words, self.read.basis_key)

    def _load(
        self, entry: Entry, taggings: Sequence[TaggedWords], views: Collection[View]
    ) -> dict[View, list[Moments]] | None:
        """The moments in the cache; None if an array is missing or damaged."""
        result: dict[View, list[Moments]] = {}
        for view, words in product(views, taggings):
            arrays = entry.load_all(self._series(self.read.site, view, words), self.read.layers)
            layers = [moments_of_array(array, words) for array in arrays.values() if array is not None]
            if len(layers) < len(arrays):
                return None
            result.setdefault(view, []).append(Moments.concatenate(layers))
        return result

    def _gather(self, entry: Entry, taggings: Sequence[TaggedWords], views: Collection[View]) -> None:
        """Compute what the cache lacks of the taggings and of everything that is planned."""
        wanted = {words.digest: words for words in (*taggings, *self.planned)}
        views = tuple(dict.fromkeys([*OF_ACTIVATIONS, *views]))
        missing = {
            digest: words
            for digest, words in wanted.items()
            if not all(
                entry.load(self._series(site, view, words), layer) is not None
                for site, layers in self.places.items()
                for view, layer in product(views, layers)
            )
        }
        gathered = self._pass(list(missing.values()), views) if missing else {}
        for (site, view, digest), by_layer in gathered.items():
            arrays = {layer: array_of_moments(moments) for layer, moments in by_layer.items()}
            shape = next(iter(arrays.values())).shape
            name = self._series(site, view, missing[digest])
            with entry.write(name, list(arrays), shape, "float64", FORMAT) as partial:
                partial.put(np.arange(shape[0]), arrays)

    def _pass(
        self, words: Sequence[TaggedWords], views: Sequence[View]
    ) -> dict[tuple[Site, View, str], dict[int, Moments]]:
        """One pass over the text: moments by site, view and digest of the tagging, and by layer."""
        sentences, places = self.treebank.splits["train"], self.places
        n_words = self.treebank.n_words("train")
        sentence = sentence_of_rows(sentences, np.arange(n_words))
        sums = [_PassSums.of(family, views, places, sentence) for family in families(words, n_words)]
        for rows, by_site in self.read.stream(sentences, "train", places):
            for each in sums:
                each.add(rows, by_site)
        gathered: dict[tuple[Site, View, str], dict[int, Moments]] = {}
        for each in sums:
            for (site, layer), of_layer in each.by_place.items():
                with naming_neurons(site, (layer,), self._width(site)):
                    for view, digest, moments in of_layer.moments():
                        gathered.setdefault((site, view, digest), {})[layer] = moments
        return gathered

    def _width(self, site: Site) -> int:
        return self.read.units if site == self.read.site else self.read.model.width(site)


@dataclass(frozen=True)
class _PassSums:
    """The sums of one family in a pass, by site and layer."""

    family: Family
    groups: Int[Tensor, "taggings words"]
    sentence: Int[ndarray, " all_words"]
    by_place: Mapping[tuple[Site, int], FamilySums]

    @classmethod
    def of(
        cls,
        family: Family,
        views: Sequence[View],
        places: Mapping[Site, Sequence[int]],
        sentence: Int[ndarray, " all_words"],
    ) -> _PassSums:
        by_place = {(site, layer): FamilySums(family, views) for site, layers in places.items() for layer in layers}
        return cls(family, family.taggings(), sentence, by_place)

    def add(
        self, rows: Int[ndarray, " some"], by_site: Mapping[Site, Mapping[int, Float[Tensor, "some _neurons"]]]
    ) -> None:
        """Add the words of a batch that belong to the family."""
        place = self.family.place[rows]
        own = place >= 0
        if not own.any():
            return
        chosen = torch.from_numpy(np.flatnonzero(own))
        groups = self.groups[:, torch.from_numpy(place[own])]
        sentences = torch.from_numpy(self.sentence[rows[own]])
        for site, of_site in by_site.items():
            for layer, values in of_site.items():
                values = values if own.all() else values.index_select(0, chosen.to(values.device))
                self.by_place[site, layer].add(values, groups.to(values.device), sentences.to(values.device))


@dataclass(frozen=True)
class MomentSource:
    """The words of a tagging as input of scorers by moments, which come from the cache."""

    moments_of: MomentReader
    rows: Int[ndarray, " words"]
    n_tags: int
    budget_bytes: int
    sentences: Int[ndarray, " words"] | None = None
    whole: bool = True

    @property
    def site(self) -> Site:
        """Where in the block the values are read."""
        return self.moments_of.read.site

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers, in the order in which their neurons are concatenated."""
        return self.moments_of.read.layers

    @property
    def width(self) -> int:
        """Number of neurons per layer."""
        return self.moments_of.read.units

    def of_words(self, positions: Int[ndarray, " some"], n_tags: int) -> MomentSource:
        """A source for some of the words, by ascending position.

        Raises:
            ValueError: If positions repeat.
        """
        if (np.diff(positions) <= 0).any():
            raise ValueError("bootstrap resamples need stored activations: activations.store=true")
        sentences = None if self.sentences is None else self.sentences[positions]
        whole = self.whole and len(positions) == len(self.rows)
        return replace(self, rows=self.rows[positions], n_tags=n_tags, sentences=sentences, whole=whole)

    def moments(self, taggings: Int[ndarray, "taggings words"], views: Collection[View]) -> dict[View, list[Moments]]:
        """Moments of some views under every tagging, layers concatenated."""
        for tags in taggings:
            tag_counts(torch.from_numpy(tags), len(self.rows), self.n_tags)
        words = [TaggedWords(self.rows, tags, self.n_tags, self.whole) for tags in taggings]
        result = self.moments_of(words, views)
        if self.sentences is None:
            return {view: [replace(each, sentence_squares=None) for each in own] for view, own in result.items()}
        return result

    def columns(self, *, per_neuron: bool) -> Iterator[tuple[int, Num[Tensor, "words block"]]]:
        """Not supported: only sums are known.

        Raises:
            ValueError: Always.
        """
        raise ValueError(WORDS_NEEDED)

    def identity(self) -> tuple[object, ...]:
        """Everything that determines scores except method and tags."""
        words = TaggedWords(self.rows, np.zeros_like(self.rows), self.n_tags, self.whole)
        return *self.moments_of.identity(), words.digest, self.sentences is None
