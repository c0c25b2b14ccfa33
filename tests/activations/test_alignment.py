"""Words are aligned with their tokens, however the tokenizer treats spaces."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import sentence, sentences, tiny_tokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from keyneurons.activations.alignment import Encoder, white_space_marks

BOS = 1


def pieces(encoded):
    return tiny_tokenizer().convert_ids_to_tokens(list(encoded.ids))


def encode(one, **options):
    return Encoder(tiny_tokenizer(), **{"bos": BOS, **options})([one])[0]


def tokens_read(one, **options):
    encoded = encode(one, **options)
    return [pieces(encoded)[first : last + 1] for first, last in encoded.reads]


def test_the_leading_space_belongs_to_the_token():
    one = sentence("The dog cannot see.")
    assert pieces(encode(one)) == ["<s>", "The", "Ġdog", "Ġcannot", "Ġsee", "."]
    assert tokens_read(one) == [["The"], ["Ġdog"], ["Ġcannot"], ["Ġsee"], ["."]]


def test_the_text_is_tokenized_as_it_was_written():
    assert pieces(encode(sentence("The dog , see ."))) != pieces(encode(sentence("The dog, see.")))


def test_a_token_may_span_two_words():
    one = sentence("They cannot see", (0, 4), (5, 8), (8, 11), (12, 15))
    assert [word.form for word in one.words] == ["They", "can", "not", "see"]
    assert tokens_read(one)[1:] == [["Ġcannot"], ["Ġcannot"], ["Ġsee"]]


def test_words_may_share_a_span():
    one = sentence("see du dog", (0, 3), (4, 6), (4, 6), (7, 10))
    read = encode(one, pooling="mean").reads
    assert read[1] == read[2]
    assert pieces(encode(one))[read[1][1] + 1] == pieces(encode(one))[read[3][0]] == "Ġdog"


@pytest.mark.parametrize("form", ["🙂", "naïve", "日本", "👩‍👩‍👧"])
def test_characters_of_many_bytes(form):
    text = f"The {form} dog"
    one = sentence(text, (0, 3), (4, 4 + len(form)), (5 + len(form), len(text)))
    read = tokens_read(one, pooling="mean")
    assert (read[0], read[2]) == (["The"], ["Ġdog"])
    alone = tiny_tokenizer().tokenize(f"The {form} dog")
    assert [["The"], *read[1:2], ["Ġdog"]] == [alone[:1], [t for t in alone[1:-1] if t != "Ġ"], alone[-1:]]


def test_pooling_chooses_among_the_words_tokens():
    one = sentence("The wolfhound")
    tokens = pieces(encode(one))
    assert len(tokens) > 4
    last = len(tokens) - 1
    assert encode(one, pooling="first").reads[1] == (2, 2)
    assert encode(one, pooling="last").reads[1] == (last, last)
    assert encode(one, pooling="mean").reads[1] == (2, last)


def test_prediction_is_read_before_the_first_token_whatever_the_pooling():
    one = sentence("The wolfhound see")
    for pooling in ("first", "last", "mean"):
        reads = encode(one, pooling=pooling, read_at="prediction").reads
        firsts = [first for first, _ in encode(one, pooling="mean").reads]
        assert reads == tuple((first - 1, first - 1) for first in firsts)
    assert reads[0] == (0, 0)


def test_bos_is_never_read_at_the_word():
    for encoded in Encoder(tiny_tokenizer(), BOS)(sentences()):
        assert encoded.ids[0] == BOS
        assert min(first for first, _ in encoded.reads) >= 1


def test_without_bos_positions_move_by_one():
    one = sentence("The dog")
    assert encode(one, bos=None).ids == encode(one).ids[1:]
    assert encode(one, bos=None).reads == ((0, 0), (1, 1))
    assert encode(one, eos=2).ids == (*encode(one).ids, 2)


def test_prediction_without_bos_names_the_sentence():
    with pytest.raises(ValueError, match=r"sentence s7: .*read_at=prediction needs a BOS token \(model.bos\)"):
        encode(sentence("The dog", name="s7"), bos=None, read_at="prediction")


def test_a_word_without_a_token_names_the_sentence():
    lossy = Tokenizer.from_str(tiny_tokenizer().backend_tokenizer.to_str())
    lossy.normalizer = normalizers.Replace("~", "")
    encoder = Encoder(PreTrainedTokenizerFast(tokenizer_object=lossy), BOS)
    assert len(encoder([sentence("The dog", name="s8")])) == 1
    with pytest.raises(ValueError, match="sentence s9: no token overlaps the word '~'"):
        encoder([sentence("The dog", name="s8"), sentence("The ~ dog", name="s9")])
    read = encoder.readable([sentence("~"), sentence("The ~ dog")])
    assert [[word.form for word in words] for words in read] == [[], ["The", "dog"]]


def test_no_sentences():
    assert Encoder(tiny_tokenizer(), BOS)([]) == []


CHARACTERS = "abĠ月山☃"
MERGES = [("▁", "a"), ("▁", "月"), ("a", "b"), ("月", "山"), ("▁a", "b")]
PREPEND = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
SPLIT_FIRST = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
KINDS: dict[str, tuple[Any, Any]] = {
    "T5": (None, pre_tokenizers.Metaspace(prepend_scheme="always")),
    "once": (None, pre_tokenizers.Metaspace(prepend_scheme="first")),
    "never": (None, pre_tokenizers.Metaspace(prepend_scheme="never")),
    "XLM-R": (normalizers.NFKC(), pre_tokenizers.Sequence(SPLIT_FIRST)),
    "another mark": (None, pre_tokenizers.Metaspace(replacement="☐", prepend_scheme="always")),
    "Llama 2": (PREPEND, None),
    "GPT-2": (None, pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "RoBERTa": (None, pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "BERT": (normalizers.BertNormalizer(lowercase=False), pre_tokenizers.BertPreTokenizer()),
    "spaces as they are": (None, None),
}


@functools.cache
def tokenizer_of(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer of characters (or bytes) and a few pairs, most with a leading space mark."""
    normalizer, pre_tokenizer = KINDS[kind]
    mark = {"another mark": "☐", "GPT-2": "Ġ", "RoBERTa": "Ġ", "BERT": "", "spaces as they are": " "}.get(kind, "▁")
    merges = [tuple(piece.replace("▁", mark) for piece in pair) for pair in MERGES]
    merges = [pair for pair in merges if all(pair)]
    single = [*CHARACTERS, mark or "a"]
    if mark == "Ġ":
        single = pre_tokenizers.ByteLevel.alphabet()
        merges = [pair for pair in merges if set("".join(pair)) <= set("Ġab")]
    pieces = dict.fromkeys(["<unk>", *single, *map("".join, merges)])
    model = models.BPE({piece: i for i, piece in enumerate(pieces)}, merges, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def spelt(kind: str, pieces: list[str]) -> str:
    """The text of some pieces, without space marks."""
    text = "".join(pieces).strip("Ġ" if kind in ("GPT-2", "RoBERTa") else "▁☐ ")
    if kind not in ("GPT-2", "RoBERTa"):
        return text
    byte_of = {
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(c)[0][0]: c
        for c in CHARACTERS
    }
    return re.sub("|".join(map(re.escape, byte_of)), lambda found: byte_of[found[0]], text)


WORDS = st.lists(st.text(CHARACTERS, min_size=1, max_size=4), min_size=1, max_size=5)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(words=WORDS, spaces=st.sampled_from([" ", "  "]))
def test_the_tokens_of_a_word_spell_it_wherever_it_stands(kind: str, words: list[str], spaces: str) -> None:
    tokenizer = tokenizer_of(kind)
    text = spaces.join(words)
    one = sentence(text, *(found.span() for found in re.finditer(r"[^ ]+", text)))
    read = {pooling: Encoder(tokenizer, None, pooling=pooling)([one])[0] for pooling in ("mean", "first", "last")}
    pieces = tokenizer.convert_ids_to_tokens(list(read["mean"].ids))
    for word, (first, last) in zip(words, read["mean"].reads, strict=True):
        assert spelt(kind, pieces[first : last + 1]) == word
        assert all(set(pieces[end]) - white_space_marks(tokenizer) for end in (first, last))
    assert read["first"].reads == tuple((first, first) for first, _ in read["mean"].reads)
    assert read["last"].reads == tuple((last, last) for _, last in read["mean"].reads)


@pytest.mark.parametrize("kind", KINDS)
def test_a_space_becomes_the_mark_of_the_tokenizer(kind: str) -> None:
    known = {"another mark": {"☐"}, "GPT-2": {"Ġ"}, "RoBERTa": {"Ġ"}, "BERT": set(), "spaces as they are": {" "}}
    assert white_space_marks(tokenizer_of(kind)) == known.get(kind, {"▁"})


def test_the_mark_in_front_of_a_text_is_no_token_of_its_first_word() -> None:
    tokenizer = tokenizer_of("T5")
    one = sentence("山月 ab 山月")
    encoded = Encoder(tokenizer, None, pooling="mean")([one])[0]
    assert tokenizer.convert_ids_to_tokens(list(encoded.ids)) == ["▁", "山", "月", "▁ab", "▁", "山", "月"]
    assert encoded.reads == ((1, 2), (3, 3), (5, 6))
    assert Encoder(tokenizer, None, read_at="prediction")([one])[0].reads == ((0, 0), (2, 2), (4, 4))
