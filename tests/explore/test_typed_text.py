"""Typed text becomes sentences that the model can read, whatever is typed."""

from __future__ import annotations

import pytest
from models import save_tiny_model
from planted_model import save_planted_model, treebank
from tokenizers import Tokenizer, normalizers

from keyneurons.data.word_splitting import word_spans
from keyneurons.explore.typed_text import MOST_CHARACTERS, MOST_LINES, MOST_TOKENS, read_typed
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel


def test_every_line_is_a_sentence(tiny):
    read = read_typed(" The dog\r\n\n \t \nruns\u2028home ", tiny(), 500)
    assert [each.text for each in read.sentences] == ["The dog", "runs", "home"]
    assert read.notes == ()


@pytest.mark.parametrize("text", ["", "   ", "\n\t\n", "\x00\x1b", "\u200b"], ids=range(5))
def test_a_text_without_words_is_an_error(tiny, text):
    if text == "\u200b":  # a joiner alone is a word of a character that every byte-level tokenizer reads
        assert read_typed(text, tiny(), 500).sentences
        return
    with pytest.raises(ValueError, match="Type a sentence"):
        read_typed(text, tiny(), 500)


def test_cuts_are_reported(tiny):
    read = read_typed("word " * 2000, tiny(), 500)
    assert read.notes[0] == f"Only the first {MOST_CHARACTERS} of 10,000 characters are read."
    n = sum(len(each.words) for each in read.sentences)
    tokens = tiny().tokenizer(read.sentences[0].text, add_special_tokens=False)["input_ids"]
    assert 0 < len(tokens) <= MOST_TOKENS
    assert f"Only the first {n} of " in read.notes[1]
    read = read_typed("a\n" * 12, tiny(), 500)
    assert len(read.sentences) == MOST_LINES
    assert read.notes == (f"Only the first {MOST_LINES} of 12 lines are read.",)


def test_the_cut_is_as_long_as_possible(tiny):
    model = tiny()
    text = "the dog and the cat cannot see the light"
    for room in range(1, 14):
        tokens = model.tokenizer(text, add_special_tokens=False)
        fitting = [end for _, end in word_spans(text) if tokens.char_to_token(end - 1) < room]
        if fitting:
            assert read_typed(text, model, room).sentences[0].text == text[: fitting[-1]]
        else:
            with pytest.raises(ValueError, match="The first word alone has more than"):
                read_typed(text, model, room)


def test_a_cut_text_ends_before_a_line_that_does_not_fit(tiny):
    read = read_typed("the dog\n" + "q" * 90, tiny(), 20)
    assert [each.text for each in read.sentences] == ["the dog"]
    assert "Only the first 2 of 3 words are read" in read.notes[0]


def test_characters_that_the_tokenizer_cannot_read(tmp_path):
    model = LanguageModel(LocalModel(save_planted_model(tmp_path / "m", treebank(), steps=1), tmp_path).fetch())
    model.tokenizer.backend_tokenizer.model.unk_token = "none"
    with pytest.raises(ValueError, match=r"The tokenizer cannot read this text: WordLevel error"):
        read_typed("unknown", model, 50)


def test_words_without_a_token_are_left_out(tmp_path):
    folder = save_tiny_model(tmp_path / "model")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.normalizer = normalizers.Replace("\u00b6", "")  # drops the pilcrow
    tokenizer.save(str(folder / "tokenizer.json"))
    model = LanguageModel(LocalModel(folder, tmp_path).fetch(), device="cpu")
    with pytest.raises(ValueError, match=r"can read none of these characters"):
        read_typed("\u00b6 \u00b6", model, 50)
    read = read_typed("the \u00b6 dog", model, 50)
    assert [word.form for word in read.sentences[0].words] == ["the", "dog"]
    assert read.notes == ("The tokenizer has no token for 1 of the words; they are skipped.",)


def test_lone_surrogates_are_replaced(tiny):
    assert read_typed("a \ud83d b", tiny(), 500).sentences[0].text == "a ? b"
