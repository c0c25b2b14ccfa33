"""Loading of a treebank and labelling of its words."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from keyneurons.activations.alignment import Encoder
from keyneurons.activations.reader import ActivationReader
from keyneurons.data.columns import uses_syntax
from keyneurons.data.digests import TreebankDigests, treebank_digests
from keyneurons.data.labels import balanced, label
from keyneurons.data.sources import TreebankSource
from keyneurons.data.splitting import cap, drop_duplicates, make_treebank, with_splits
from keyneurons.metric_names import check_tag
from keyneurons.progress import stage
from keyneurons.records import SPLITS, Labels, Sentence, Split, Treebank

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dataset:
    """A treebank with the options of its loading: tag column, tags, caps, unreadable words.

    ``balance`` is the maximum number of train words of each tag, drawn with ``seed``. With
    ``overfit``, dev and test are the train sentences: a test of whether a probe can learn them.
    """

    source: TreebankSource
    tag_column: str
    tags: tuple[str, ...] | None
    min_words_per_tag: int
    max_sentences: Mapping[Split, int | None]
    max_words: Mapping[Split, int | None]
    drop_duplicates: bool
    unreadable_words: Literal["error", "drop"] = "error"
    overfit: bool = False
    balance: int | None = None
    seed: int = 0

    def load(self, read: ActivationReader | None = None) -> Treebank:
        """Read the treebank.

        Args:
            read: Reader of activations, whose tokenizer decides which words are unreadable.

        Returns:
            The capped treebank without sentences of an earlier split and without dropped words.
        """
        treebank = cap(self.source.load(), self.max_sentences, self.max_words)
        if self.overfit:
            treebank = make_treebank(f"{treebank.id}, tested on train", dict.fromkeys(SPLITS, treebank.splits["train"]))
        elif self.drop_duplicates:
            treebank = drop_duplicates(treebank)
        return treebank if read is None or self.unreadable_words == "error" else drop_unreadable(treebank, read)

    def digests(self, treebank: Treebank) -> TreebankDigests:
        """The digests of all that labels may come from."""
        return treebank_digests(treebank, syntax=uses_syntax(self.tag_column))

    def label(self, treebank: Treebank, *, first_words: bool) -> Labels:
        """Label the words of a treebank, with or without the first word of every sentence.

        Raises:
            ValueError: The treebank lacks a requested tag, or a tag cannot be part of a metric name
                in MLflow.
        """
        labels = label(treebank, self.tag_column, self.tags, self.min_words_per_tag, first_words=first_words)
        if self.balance is not None:
            labels = balanced(labels, self.balance, self.seed)
        for tag in labels.names:
            check_tag(tag)
        return labels


@dataclass(frozen=True)
class LabelledText:
    """A treebank, its digests and its labelled words."""

    treebank: Treebank
    digests: TreebankDigests
    labels: Labels

    @property
    def digest(self) -> str:
        """Digest of all splits."""
        return self.digests.whole

    def metrics(self) -> dict[str, float]:
        """Numbers of words and tags, and of dropped sentences and words."""
        labels, treebank = self.labels, self.treebank
        return {
            **{f"data/{split}_words": float(len(labels.splits[split].rows)) for split in SPLITS},
            "data/tags": float(len(labels.names)),
            "data/duplicates_dropped": float(sum(treebank.duplicates_dropped.values())),
            "data/unreadable_dropped": float(treebank.unreadable_dropped),
        }


def load_text(dataset: Dataset, read: ActivationReader) -> LabelledText:
    """Load the treebank of a run and label its words.

    Args:
        dataset: The treebank and the options of its loading.
        read: Reader of activations; words read where they are predicted exclude the first of a
            sentence.

    Returns:
        The treebank, its digest and its labels.
    """
    with stage("reading the sentences"):
        treebank = dataset.load(read)
        labels = dataset.label(treebank, first_words=read.read_at == "word")
    log.info("%s: %d tags, %d train words", treebank.id, len(labels.names), len(labels.splits["train"].rows))
    return LabelledText(treebank, dataset.digests(treebank), labels)


def drop_unreadable(treebank: Treebank, read: ActivationReader) -> Treebank:
    """Drop the words that the tokenizer has no token for, and the sentences without any other word.

    Args:
        treebank: The treebank.
        read: Reader of activations with the tokenizer.

    Returns:
        The treebank without these words; the texts of the sentences are unchanged.

    Raises:
        ValueError: A split has no words left.
    """
    encoder = Encoder(read.model.tokenizer, bos=None)
    splits: dict[Split, tuple[Sentence, ...]] = {}
    for split in SPLITS:
        words = encoder.readable(treebank.splits[split])
        pairs = zip(treebank.splits[split], words, strict=True)
        splits[split] = tuple(replace(sentence, words=kept) for sentence, kept in pairs if kept)
        if not splits[split]:
            raise ValueError(
                f"{treebank.id}: the tokenizer of {read.model.files.id} has no token for any word of {split}"
            )
    remaining = with_splits(treebank, splits)
    dropped = sum(treebank.n_words(split) - remaining.n_words(split) for split in SPLITS)
    return replace(remaining, unreadable_dropped=dropped)
