"""The text as it is planned with: counted where it and the tokenizer are here, else taken to be like other text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyneurons.activations.alignment import Encoded
from keyneurons.activations.reader import ActivationReader
from keyneurons.build.dataset import build_dataset
from keyneurons.config import inputs, schema
from keyneurons.data.raw_text import read_texts
from keyneurons.data.splitting import make_treebank, split_sentences
from keyneurons.pipeline.dataset import Dataset
from keyneurons.records import SPLITS, Sentence, Split, Treebank, Word

TOKENS_PER_WORD = 1.3
"""Assumed of a tokenizer that is not here. That of SmolLM2 makes 1.16 to 1.26 of an English word of UD EWT."""

TAGS = 17
"""Assumed of text that is not tagged yet: those of Universal Dependencies."""

EWT_SIZES: Mapping[Split, tuple[int, int]] = {"train": (12544, 204577), "dev": (2001, 25147), "test": (2077, 25094)}
"""Sentences and words of UD English EWT 2.16."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class PlannedText:
    """Every sentence of every split as token ids and reading positions, made up where nothing better is known.

    Args:
        treebank: the sentences; those of text that is not here have no characters.
        encoded: tokens of the sentences by split.
        labelled: by split the words that have a tag that counts.
        n_tags: number of tags.
        counted: whether the tokens are those that a run will read.
        told: where words and tokens come from.
    """

    treebank: Treebank
    encoded: Mapping[Split, Sequence[Encoded]]
    labelled: Mapping[Split, int]
    n_tags: int
    counted: bool
    told: str

    def words(self, split: Split) -> int:
        """Number of words of a split."""
        return sum(len(e.reads) for e in self.encoded[split])

    def tokens(self, split: Split) -> int:
        """Number of tokens of a split, those in front of sentences included, padding not."""
        return sum(len(e.ids) for e in self.encoded[split])


def planned_text(config: schema.Config, read: ActivationReader, tokenizer: bool) -> PlannedText:
    """Find and encode the text; ``tokenizer`` says whether that of the model is here.

    Raises:
        ValueError: the dataset is not what the configuration says, or its words do not fit the tokenizer.
    """
    dataset, rough = _dataset(config)
    has_text = not isinstance(dataset.source, _Sizes)
    treebank = dataset.load(read if tokenizer and has_text else None)
    labelled, n_tags = {split: treebank.n_words(split) for split in SPLITS}, TAGS
    if rough is None:
        labels = dataset.label(treebank, first_words=config.read_at == "word")
        labelled = {split: len(labels.splits[split].rows) for split in SPLITS}
        n_tags = len(labels.names)
    if tokenizer and has_text:
        encoded = {split: read.encode(treebank.splits[split]) for split in SPLITS}
        tokens = "tokens counted"
    else:
        encoded = {split: [_made_up(s, read) for s in treebank.splits[split]] for split in SPLITS}
        why = "" if tokenizer else ": the model's tokenizer is not here"
        tokens = f"tokens assumed as {TOKENS_PER_WORD} a word{why}"
    counted = tokenizer and rough is None
    return PlannedText(treebank, encoded, labelled, n_tags, counted, f"{rough or 'words counted'}; {tokens}")


def _dataset(config: schema.Config) -> tuple[Dataset, str | None]:
    """The dataset, or what stands for it, and then how it was made up."""
    dataset = build_dataset(config.dataset, config.cache.expanduser(), config.seed)
    asked = {name: getattr(dataset, name) for name in inputs.Dataset.model_fields}
    if isinstance(config.dataset, inputs.TextDataset):
        source = _Rough(config.dataset, config.seed)
        return Dataset(source=source, **asked), "words split at spaces and punctuation, which Stanza may do otherwise"
    if isinstance(config.dataset, inputs.EWTDataset) and config.dataset.folder is None:
        try:
            dataset.source.load()
        except ValueError:  # it is not here, and no network either
            asked["drop_duplicates"] = False
            return Dataset(source=_Sizes(), **asked), "words by the size of the release, which cannot be fetched now"
    return dataset, None


def _made_up(sentence: Sentence, read: ActivationReader) -> Encoded:
    """A sentence of so many tokens, whatever they are."""
    front = int(read.bos is not None)
    n = max(1, round(TOKENS_PER_WORD * len(sentence.words))) + front
    return Encoded((0,) * n, tuple((i, i) for i in range(front, front + len(sentence.words))))


@dataclass(frozen=True)
class _Rough:
    """Plain text, cut into sentences and words without a tagger."""

    asked: inputs.TextDataset
    seed: int

    def load(self) -> Treebank:
        texts = read_texts(Path(self.asked.path))
        found = [piece for _, text in texts for piece in _SENTENCE_END.split(text) if _WORD.search(piece)]
        sentences = [Sentence(f"s{i}", text, tuple(_words(text))) for i, text in enumerate(found)]
        return make_treebank(self.asked.id, split_sentences(sentences, self.asked.fractions, self.seed))


@dataclass(frozen=True)
class _Sizes:
    """UD English EWT as sentences of equal length, without a character."""

    def load(self) -> Treebank:
        return make_treebank("ud_english_ewt", {s: _alike(*EWT_SIZES[s]) for s in SPLITS})


def _alike(sentences: int, words: int) -> tuple[Sentence, ...]:
    """So many words in so many sentences, as evenly as can be."""
    bounds = [i * words // sentences for i in range(sentences + 1)]
    word = Word("", 0, 0, None, None)
    return tuple(Sentence(f"s{i}", "", (word,) * (bounds[i + 1] - bounds[i])) for i in range(sentences))


def _words(text: str) -> list[Word]:
    return [Word(found[0], *found.span(), None, None) for found in _WORD.finditer(text)]
