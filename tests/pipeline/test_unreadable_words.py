"""Words without any token: dropped from the treebank, or an error before the first pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from models import save_tiny_model, sentence
from tokenizers import Tokenizer, normalizers

from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.data.digests import treebank_digests
from keyneurons.models.folders import ModelFolder
from keyneurons.models.language_model import LanguageModel
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.dataset import Dataset
from keyneurons.records import SPLITS, Sentence, Treebank, Word

TEXTS = ("the \u200b dog", "\u00ad she reads", "\u200b", "a cat sees \u00ad", "the moon")


@dataclass(frozen=True)
class Given:
    treebank: Treebank

    def load(self) -> Treebank:
        return self.treebank


def tagged(text: str) -> Sentence:
    """Every word has its length as tag."""
    spans, start = [], 0
    for form in text.split(" "):
        spans.append((start, start + len(form)))
        start += len(form) + 1
    one = sentence(text, *spans, name=repr(text))
    words = tuple(Word(text[a:b], a, b, f"L{b - a}", None) for a, b in spans)
    return replace(one, words=words)


def without(one: Sentence) -> Sentence:
    return replace(one, words=tuple(word for word in one.words if word.form not in "\u200b\u00ad"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose tokenizer drops zero-width spaces and soft hyphens."""
    folder = save_tiny_model(tmp_path_factory.mktemp("model"), layers=2)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(mark, "") for mark in "\u200b\u00ad"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def read(folder: Path, tmp_path: Path) -> ActivationReader:
    model = LanguageModel(ModelFolder(folder, "toy", "r1"), device="cpu")
    return ActivationReader(model, "mlp", (1,), store=ActivationStore(tmp_path / "cache"))


def dataset(treebank: Treebank, unreadable_words: str) -> Dataset:
    caps = dict.fromkeys(SPLITS)
    made = Dataset(Given(treebank), "upos", None, 1, caps, caps, drop_duplicates=False)
    return replace(made, unreadable_words=unreadable_words)


WHOLE = Treebank("toy", dict.fromkeys(SPLITS, tuple(map(tagged, TEXTS))), duplicates_dropped={"dev": 2})
LEFT = tuple(one for one in map(without, WHOLE.splits["train"]) if one.words)


@pytest.mark.parametrize("read_at", ["word", "prediction"])
def test_a_run_without_unreadable_words_is_that_of_a_treebank_without_them(
    read: ActivationReader, read_at: str
) -> None:
    read = replace(read, read_at=read_at)
    treebank = dataset(WHOLE, "drop").load(read)
    expected = Treebank("toy", dict.fromkeys(SPLITS, LEFT))
    assert treebank.splits == expected.splits
    assert (treebank.unreadable_dropped, treebank.duplicates_dropped) == (3 * 4, {"dev": 2})
    assert [one.text for one in treebank.splits["dev"]] == [TEXTS[i] for i in (0, 1, 3, 4)]
    assert treebank_digests(treebank) == treebank_digests(expected) != treebank_digests(WHOLE)
    labels = dataset(WHOLE, "drop").label(treebank, first_words=read_at == "word")
    words = [word for one in treebank.splits["train"] for word in one.words]
    of_rows = [words[row] for row in labels.splits["train"].rows.tolist()]
    assert tuple(word.form for word in of_rows) == labels.splits["train"].forms
    assert [labels.names[tag] for tag in labels.splits["train"].tags] == [word.upos for word in of_rows]
    arrays = StoredActivations.of(read, treebank).arrays["train"][1]
    assert len(arrays) == len(words) == len(read.token_counts(treebank.splits["train"]))
    other = [text.replace("\u200b", "").replace("\u00ad", "") for text in TEXTS if text != "\u200b"]
    plain = [sentence(text) for text in other]  # these texts have the same tokens
    assert np.array_equal(arrays, read(plain, "plain")[1])


def test_an_unreadable_word_is_refused_before_the_first_pass(read: ActivationReader) -> None:
    splits = {"train": LEFT, "dev": LEFT, "test": WHOLE.splits["test"]}
    treebank = dataset(Treebank("toy", splits), "error").load(read)
    with pytest.raises(
        ValueError, match=r"sentence .*'the .u200b dog'.* word '.u200b'; dataset\.unreadable_words=drop"
    ):
        StoredActivations.of(read, treebank)
    assert read.missing(treebank.splits["train"]) == (1,)
    assert "network" not in vars(read.model)  # the network is never loaded


def test_nothing_is_left_out_where_every_word_has_a_token(read: ActivationReader) -> None:
    treebank = Treebank("toy", dict.fromkeys(SPLITS, LEFT), duplicates_dropped={"test": 1})
    assert dataset(treebank, "drop").load(read) == dataset(treebank, "error").load(read) == treebank


def test_a_split_without_a_readable_word_is_told(read: ActivationReader) -> None:
    splits = {"train": LEFT, "dev": (tagged("\u200b"),), "test": LEFT}
    with pytest.raises(ValueError, match="toy: the tokenizer of toy has no token for any word of dev"):
        dataset(Treebank("toy", splits), "drop").load(read)
