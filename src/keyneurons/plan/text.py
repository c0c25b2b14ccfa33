"""The text of a plan: counted if text and tokenizer are local, else estimated."""

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
from keyneurons.data.treebank_table import ud_treebanks
from keyneurons.pipeline.dataset import Dataset
from keyneurons.records import SPLITS, Sentence, Split, Treebank, Word

TOKENS_PER_WORD = 1.3
"""Estimate without a tokenizer; SmolLM2's tokenizer has 1.16 to 1.26 per English word of UD EWT."""

TAGS = 17
"""Number of tags assumed for untagged text: the UPOS tags of Universal Dependencies."""

EWT_SIZES: Mapping[Split, tuple[int, int]] = {"train": (12544, 204577), "dev": (2001, 25147), "test": (2077, 25094)}
"""Sentences and words of UD English EWT 2.16."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class PlannedText:
    """Token ids and reading positions of every sentence, real or estimated.

    Args:
        treebank: the sentences, without characters if the text is not local.
        encoded: the encoded sentences by split.
        labelled: number of labelled words by split.
        n_tags: number of tags.
        counted: whether the tokens are exactly those of a run.
        description: how words and tokens were determined.
    """

    treebank: Treebank
    encoded: Mapping[Split, Sequence[Encoded]]
    labelled: Mapping[Split, int]
    n_tags: int
    counted: bool
    description: str

    def words(self, split: Split) -> int:
        """Number of words of a split."""
        return sum(len(e.reads) for e in self.encoded[split])

    def tokens(self, split: Split) -> int:
        """Number of tokens of a split, with BOS and without padding."""
        return sum(len(e.ids) for e in self.encoded[split])


def planned_text(config: schema.Config, read: ActivationReader, tokenizer: bool) -> PlannedText:
    """Load and encode the text; ``tokenizer`` says whether the model's tokenizer is local.

    Raises:
        ValueError: the dataset does not fit the configuration, or its words do not fit the
            tokenizer.
    """
    dataset, rough, has_text = _dataset(config)
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
        encoded = {split: [_estimate(s, read) for s in treebank.splits[split]] for split in SPLITS}
        reason = "" if tokenizer else " (no local tokenizer)"
        tokens = f"tokens estimated at {TOKENS_PER_WORD} per word{reason}"
    counted = tokenizer and rough is None
    return PlannedText(treebank, encoded, labelled, n_tags, counted, f"{rough or 'words counted'}; {tokens}")


def _dataset(config: schema.Config) -> tuple[Dataset, str | None, bool]:
    """The dataset or an approximation of it, described, and whether its text is available."""
    dataset = build_dataset(config.dataset, config.cache.expanduser(), config.seed)
    options = {name: getattr(dataset, name) for name in inputs.Dataset.model_fields}
    if config.dataset.source == "text":
        source = _Rough(config.dataset, config.seed)
        return (
            Dataset(source=source, **options),
            "words split at spaces and punctuation (Stanza may split otherwise)",
            True,
        )
    if config.dataset.source == "ud" and config.dataset.folder is None:
        try:
            dataset.source.load()
        except ValueError:  # not local and cannot be downloaded
            options["drop_duplicates"] = False
            sizes = _Sizes(config.dataset.treebank, tuple(config.dataset.fractions))
            return Dataset(source=sizes, **options), "words by the size of the treebank, which is not local", False
    return dataset, None, True


def _estimate(sentence: Sentence, read: ActivationReader) -> Encoded:
    """A sentence of the estimated number of tokens, with arbitrary ids."""
    front = int(read.bos is not None)
    n = max(1, round(TOKENS_PER_WORD * len(sentence.words))) + front
    return Encoded((0,) * n, tuple((i, i) for i in range(front, front + len(sentence.words))))


@dataclass(frozen=True)
class _Rough:
    """Plain text, split into sentences and words without Stanza."""

    settings: inputs.TextDataset
    seed: int

    def load(self) -> Treebank:
        texts = read_texts(Path(self.settings.path))
        pieces = [piece for _, text in texts for piece in _SENTENCE_END.split(text) if _WORD.search(piece)]
        sentences = [Sentence(f"s{i}", text, tuple(_words(text))) for i, text in enumerate(pieces)]
        return make_treebank(self.settings.id, split_sentences(sentences, self.settings.fractions, self.seed))


@dataclass(frozen=True)
class _Sizes:
    """A treebank of Universal Dependencies as sentences of equal length, without characters."""

    treebank: str
    fractions: tuple[float, ...]

    def load(self) -> Treebank:
        """Make sentences of the sizes of the splits; a known total is split by the fractions.

        Raises:
            ValueError: The size of the treebank is not known.
        """
        entry = ud_treebanks()[self.treebank]
        if entry.sentences is None or entry.words is None:
            raise ValueError(f"{self.treebank} is not local and its size is not known: set dataset.folder")
        sizes = EWT_SIZES
        if self.treebank != "UD_English-EWT":
            shares = dict(zip(SPLITS, self.fractions, strict=True))
            sizes = {
                s: (max(1, round(share * entry.sentences)), round(share * entry.words)) for s, share in shares.items()
            }
        return make_treebank(self.treebank, {s: _even_sentences(*sizes[s]) for s in SPLITS})


def _even_sentences(sentences: int, words: int) -> tuple[Sentence, ...]:
    """Words distributed evenly over sentences."""
    bounds = [i * words // sentences for i in range(sentences + 1)]
    word = Word("", 0, 0, None, None)
    return tuple(Sentence(f"s{i}", "", (word,) * (bounds[i + 1] - bounds[i])) for i in range(sentences))


def _words(text: str) -> list[Word]:
    return [Word(match[0], *match.span(), None, None) for match in _WORD.finditer(text)]
