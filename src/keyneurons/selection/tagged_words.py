"""Sums of several taggings of the words of a text, gathered together in one pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.selection.moments import Moments, MomentSums
from keyneurons.selection.views import View


@dataclass(frozen=True)
class TaggedWords:
    """Some words of a text, by ascending rows, with a tag each.

    ``whole`` words have extremes and sums by sentence; others, such as the halves of a text, only
    sums.
    """

    rows: Int[ndarray, " words"]
    tags: Int[ndarray, " words"]
    n_tags: int
    whole: bool = True

    @cached_property
    def digest(self) -> str:
        """Digest of words and tags."""
        digest = hashlib.blake2b(f"{self.n_tags} {self.whole}".encode(), digest_size=16)
        for numbers in (self.rows, self.tags):
            digest.update(np.ascontiguousarray(numbers, dtype=np.int64).data)
        return digest.hexdigest()

    @property
    def counts(self) -> Int[Tensor, " tags"]:
        """Number of words of each tag."""
        return torch.from_numpy(np.bincount(self.tags, minlength=self.n_tags))


@dataclass
class Family:
    """Whole words, and taggings of them or of parts of them.

    Parts without common words share a row of groups: each has its own groups after those of the
    others. Words without a tag are in the last group.
    """

    rows: Int[ndarray, " words"]
    place: Int[ndarray, " all_words"]
    groups: list[Int[ndarray, " words"]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    members: dict[str, tuple[int, int, int, bool]] = field(default_factory=dict)

    @classmethod
    def of(cls, words: TaggedWords, n_words: int) -> Family:
        """The family of whole words, of a text with ``n_words``."""
        place = np.full(n_words, -1)
        place[words.rows] = np.arange(len(words.rows))
        return cls(words.rows, place)

    def includes(self, words: TaggedWords) -> bool:
        """Whether the words are those of the family or, if they are not whole, some of them."""
        if words.whole:
            return np.array_equal(words.rows, self.rows)
        return bool((self.place[words.rows] >= 0).all())

    def add(self, words: TaggedWords) -> None:
        """Add a tagging, beside parts that have none of its words if it is a part itself."""
        at = self.place[words.rows]
        free = [i for i, own in enumerate(self.groups) if not words.whole and (own[at] < 0).all()]
        if not free:
            self.groups.append(np.full(len(self.rows), -1))
            self.sizes.append(0)
        which = free[0] if free else len(self.groups) - 1
        self.groups[which][at] = words.tags + self.sizes[which]
        self.members[words.digest] = which, self.sizes[which], words.n_tags, words.whole
        self.sizes[which] += words.n_tags

    def taggings(self) -> Int[Tensor, "taggings words"]:
        """The group of every word under each row of groups."""
        filled = [np.where(own < 0, size, own) for own, size in zip(self.groups, self.sizes, strict=True)]
        return torch.from_numpy(np.stack(filled))

    def moments(self, sums: MomentSums) -> Iterator[tuple[str, Moments]]:
        """The moments of every tagging by digest, from the sums under ``taggings``."""
        results = sums.result(self.taggings())
        for digest, (which, first, n_tags, whole) in self.members.items():
            yield digest, results[which].of_groups(first, n_tags, whole=whole)


def families(words: Sequence[TaggedWords], n_words: int) -> list[Family]:
    """Group taggings by their words: few sums of few groups."""
    result: list[Family] = []
    for each in sorted(words, key=lambda each: not each.whole):
        family = next((family for family in result if family.includes(each)), None)
        if family is None:
            result.append(family := Family.of(each, n_words))
        if each.digest not in family.members:
            family.add(each)
    return result


class FamilySums:
    """Accumulates the moments of a family by view, of the neurons of one layer (or several)."""

    def __init__(self, family: Family, views: Sequence[View]) -> None:
        self._family = family
        self._sums = {view: MomentSums(view, [size + 1 for size in family.sizes]) for view in views}

    def add(
        self,
        values: Float[Tensor, "words neurons"],
        groups: Int[Tensor, "taggings words"],
        sentences: Int[Tensor, " words"],
    ) -> None:
        """Add some words of the family."""
        for sums in self._sums.values():
            sums.add(values, groups, sentences)

    def moments(self) -> Iterator[tuple[View, str, Moments]]:
        """The moments by view and digest of the tagging."""
        for view, sums in self._sums.items():
            for digest, moments in self._family.moments(sums):
                yield view, digest, moments
