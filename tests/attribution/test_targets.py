"""Selection of attributable words, and the balanced draw over tags."""

from __future__ import annotations

import numpy as np
import pytest
from models import sentence, tiny_tokenizer

from keyneurons.activations.alignment import Encoded, Encoder
from keyneurons.attribution.targets import Targets, balanced, predictable

# <s> I do n't see it ., where one token covers "don't": words 1 and 2 share it
SHARED = Encoded((1, 11, 12, 13, 14, 15), ((1, 1), (2, 2), (2, 2), (3, 3), (4, 4), (5, 5)))
# <s> words of one, three and one token; the fourth begins in the last token of the third
JOINED = Encoded((1, 21, 22, 23, 24, 25, 26), ((1, 1), (2, 4), (5, 5), (5, 6)))
BOTH = [SHARED, JOINED]
EVERY = np.arange(10)


def facts(result):
    return [getattr(result, name).tolist() for name in ("rows", "sentence", "position", "token")]


def test_words_by_hand():
    result = predictable(BOTH, EVERY, 1)
    # excluded: first words; do and n't, and the last two words, which share a token
    assert facts(result) == [[3, 4, 5, 7], [0, 0, 0, 1], [2, 3, 4, 1], [13, 14, 15, 22]]
    assert all(array.dtype == np.int64 for array in (result.rows, result.sentence, result.position, result.token))


@pytest.mark.parametrize(
    ("min_context", "rows"),
    [(1, [3, 4, 5, 7]), (2, [3, 4, 5]), (3, [3, 4, 5]), (4, [4, 5]), (5, [5]), (6, []), (99, [])],
)
def test_context_counts_the_words_before_in_the_sentence(min_context, rows):
    assert predictable(BOTH, EVERY, min_context).rows.tolist() == rows


def test_a_subset_of_rows():
    assert facts(predictable(BOTH, np.array([0, 2, 3, 6, 8, 9]), 1)) == [[3], [0], [2], [13]]
    assert facts(predictable(BOTH, np.array([], dtype=np.int64), 1)) == [[], [], [], []]


def test_without_bos_positions_are_one_lower():
    bare = [Encoded(e.ids[1:], tuple((a - 1, b - 1) for a, b in e.reads)) for e in BOTH]
    with_bos, without = predictable(BOTH, EVERY, 1), predictable(bare, EVERY, 1)
    assert facts(without)[:2] == facts(with_bos)[:2]
    assert without.position.tolist() == (with_bos.position - 1).tolist()
    assert without.token.tolist() == with_bos.token.tolist()
    assert without.position.min() == 0  # no word is predicted without context


def test_a_sentence_without_words_shifts_no_row():
    empty = Encoded((1,), ())
    assert facts(predictable([SHARED, empty, JOINED], EVERY, 1))[0] == facts(predictable(BOTH, EVERY, 1))[0]
    assert predictable([SHARED, empty, JOINED], EVERY, 1).sentence.tolist() == [0, 0, 0, 2]
    assert predictable([empty, *BOTH], EVERY, 1).sentence.tolist() == [1, 1, 1, 2]


def test_the_token_after_the_position_belongs_to_the_word():
    tokenizer = tiny_tokenizer()
    text = sentence("They don't see the wolfhound.", (0, 4), (5, 7), (7, 10), (11, 14), (15, 18), (19, 28), (28, 29))
    encoded = Encoder(tokenizer, bos=1, pooling="mean")([text])
    result = predictable(encoded, np.arange(7), 1)
    ids = encoded[0].ids
    assert result.token.tolist() == [ids[at + 1] for at in result.position]
    for row, token in zip(result.rows, result.token, strict=True):
        form = text.words[row].form
        piece = tokenizer.decode([token]).strip()
        assert form.startswith(piece) or not piece


def test_context_below_1_is_rejected():
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"^min_context must be at least 1, got {wrong}$"):
            predictable(BOTH, EVERY, wrong)


def test_a_subset_of_targets():
    result = predictable(BOTH, EVERY, 1)
    assert facts(result.of(np.array([3, 0]))) == [[7, 3], [1, 0], [1, 2], [22, 13]]
    assert isinstance(result.of(np.array([], dtype=np.int64)), Targets)


NAMES = ("ADJ", "NOUN", "VERB")
TAGS = np.random.default_rng(0).choice(3, 300, p=[0.1, 0.6, 0.3])


def test_the_draw_is_balanced_over_tags():
    drawn = balanced(TAGS, NAMES, 12, 0)
    assert np.bincount(TAGS[drawn]).tolist() == [12, 12, 12]
    assert drawn.tolist() == sorted(set(drawn.tolist()))


def test_a_draw_is_reproducible_and_depends_on_the_seed():
    assert np.array_equal(balanced(TAGS, NAMES, 12, 3), balanced(TAGS.copy(), NAMES, 12, 3))
    assert not np.array_equal(balanced(TAGS, NAMES, 12, 3), balanced(TAGS, NAMES, 12, 4))


def test_the_rarest_tag_limits_the_draw():
    least = int(np.bincount(TAGS).min())
    for at_most in (least, least + 1, 10_000):
        drawn = balanced(TAGS, NAMES, at_most, 0)
        assert np.bincount(TAGS[drawn]).tolist() == [least] * 3
        assert np.flatnonzero(TAGS == 0).tolist() == [i for i in drawn.tolist() if TAGS[i] == 0]


def test_a_smaller_draw_is_a_subset_of_a_larger_one():
    few, more = (set(balanced(TAGS, NAMES, n, 0).tolist()) for n in (5, 12))
    assert few < more


def test_every_word_of_a_tag_is_equally_likely():
    tags = np.repeat([0, 1], [6, 4])
    counts = sum(np.bincount(balanced(tags, NAMES[:2], 2, seed), minlength=10) for seed in range(600))
    expected = np.repeat([200, 300], [6, 4])
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_the_draw_of_a_tag_is_independent_of_other_tags():
    drawn = balanced(TAGS, NAMES, 12, 0)
    merged = np.where(TAGS == 2, 1, TAGS)  # verbs are now nouns
    again = balanced(merged, NAMES[:2], 12, 0)
    assert drawn[TAGS[drawn] == 0].tolist() == again[merged[again] == 0].tolist()
    assert drawn[TAGS[drawn] == 1].tolist() != again[merged[again] == 1].tolist()


def test_too_few_words_name_the_tag_and_the_count():
    tags = np.repeat([0, 1, 2], [9, 1, 7])
    message = r"^tag NOUN needs at least 2 attributable words, got 1: exclude it \(dataset.tags\), or lower "
    with pytest.raises(ValueError, match=message) as error:
        balanced(tags, NAMES, 5, 0)
    assert "\n" not in str(error.value)
    assert len(balanced(np.repeat([0, 1, 2], [9, 2, 7]), NAMES, 5, 0)) == 6
    with pytest.raises(ValueError, match="^tag VERB needs at least 2 attributable words, got 0"):
        balanced(np.repeat([0, 1], [9, 4]), NAMES, 5, 0)
