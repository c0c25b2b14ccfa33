"""A treebank and what is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyneurons.data.labels import label
from keyneurons.data.sources import TreebankSource
from keyneurons.data.splitting import cap, drop_duplicates
from keyneurons.records import Labels, Split, Treebank


@dataclass(frozen=True)
class Dataset:
    """A treebank and what is asked of it: tag column, caps, and which tags count."""

    source: TreebankSource
    tag_column: str
    tags: tuple[str, ...] | None
    min_words_per_tag: int
    max_sentences: Mapping[Split, int | None]
    max_words: Mapping[Split, int | None]
    drop_duplicates: bool

    def load(self) -> Treebank:
        """Read the treebank, cap it, then drop from dev and test what stands in an earlier split."""
        treebank = cap(self.source.load(), self.max_sentences, self.max_words)
        return drop_duplicates(treebank) if self.drop_duplicates else treebank

    def label(self, treebank: Treebank, *, first_words: bool) -> Labels:
        """The labelled words of a treebank, with or without the first word of every sentence."""
        return label(treebank, self.tag_column, self.tags, self.min_words_per_tag, first_words=first_words)
