"""Every word finds its tokens, whatever the tokenizer makes of the spaces."""

from __future__ import annotations

import pytest
from models import sentence, sentences, tiny_tokenizer
from tokenizers import Tokenizer, normalizers
from transformers import PreTrainedTokenizerFast

from keyneurons.activations.alignment import Encoder

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
    with pytest.raises(ValueError, match="sentence s9: no token of the model covers the word '~'"):
        encoder([sentence("The dog", name="s8"), sentence("The ~ dog", name="s9")])


def test_no_sentences():
    assert Encoder(tiny_tokenizer(), BOS)([]) == []
