"""Splits by word type: hand-counted examples, and properties on the starter treebank."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from keyneurons.data.labels import label
from keyneurons.data.sources import Starter
from keyneurons.data.unseen_words import keep_types_apart
from keyneurons.records import SPLITS, LabelledWords, Labels

NAMES = ("ADJ", "NOUN", "VERB")


def labels_of(train: str, dev: str, test: str) -> Labels:
    """Parse ``cat/1`` (form and tag); rows count from 0 in each split."""
    splits = {}
    for split, text in zip(SPLITS, (train, dev, test), strict=True):
        forms, tags = zip(*(item.split("/") for item in text.split()), strict=True)
        splits[split] = LabelledWords(np.arange(len(forms)), np.array(tags, dtype=np.int64), forms)
    return Labels("upos", NAMES, splits, {"SYM": 3})


@pytest.fixture(scope="module")
def starter() -> Labels:
    return label(Starter().load(), "upos")


def types(labels: Labels, split: str) -> set[str]:
    return set(labels.splits[split].forms)


def test_sides_are_dealt_by_hand():
    """Each tag has two types, and the rarer one is assigned to test.

    The type ``run`` belongs to VERB, including its noun uses.
    """
    labels = labels_of(
        "cat/1 dog/1 cat/1 cat/1 run/2 run/2 go/2 go/2 go/2 go/2 red/0",
        "dog/1 cat/1 ox/1 go/2 run/1",
        "cat/1 dog/1 run/1 run/2 go/2 red/0",
    )
    kept = keep_types_apart(labels, 0.3, 2, 0)
    assert kept.names == ("NOUN", "VERB")
    assert kept.left_out == {"SYM": 3, "ADJ": 1}  # its only type is in train; test has no word of it
    train, dev, test = (kept.splits[split] for split in SPLITS)
    assert (train.forms, train.rows.tolist()) == (("cat", "cat", "cat", "go", "go", "go", "go"), [0, 2, 3, 6, 7, 8, 9])
    assert train.tags.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert (dev.forms, dev.rows.tolist(), dev.tags.tolist()) == (("cat", "ox", "go"), [1, 2, 3], [0, 0, 1])
    assert (test.forms, test.rows.tolist(), test.tags.tolist()) == (("dog", "run", "run"), [1, 2, 3], [0, 0, 1])


def test_a_tag_keeps_its_test_words_where_it_can():
    """Only one of nine types occurs in test; every seed assigns that type to test."""
    many = " ".join(f"w{i}/1 w{i}/1" for i in range(8))
    labels = labels_of(f"cat/1 cat/1 cat/1 {many} go/2 go/2 run/2", "cat/1 go/2", "w5/1 run/2")
    for seed in range(20):
        kept = keep_types_apart(labels, 0.01, 1, seed)
        assert types(kept, "test") == {"w5", "run"}
        assert types(kept, "train") == {"cat", "go", *(f"w{i}" for i in range(8) if i != 5)}


def test_of_equally_frequent_types_the_one_test_needs_least_stays_in_train():
    kept = keep_types_apart(labels_of("b/1 go/2 go/2 run/2", "b/1 go/2", "a/1 run/2"), 0.5, 1, 0)
    assert (types(kept, "train"), types(kept, "test")) == ({"b", "go"}, {"a", "run"})


def test_ties_between_tags_go_to_the_lower_tag():
    """``low``, once an adjective and once a verb, belongs to ADJ as its most frequent type."""
    rest = "x/0 x/0 x/0 cat/1 cat/1 dog/1 go/2 go/2 go/2"
    kept = keep_types_apart(labels_of(f"low/2 {rest}", "x/0 cat/1 go/2", "low/0 dog/1"), 0.5, 1, 0)
    assert types(kept, "test") == {"low", "dog"}


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_no_type_is_on_both_sides(starter, share):
    assert len(types(starter, "train") & types(starter, "test")) > 400
    kept = keep_types_apart(starter, share, 20, 0)
    assert not (types(kept, "train") | types(kept, "dev")) & types(kept, "test")
    for split in SPLITS:
        before, after = starter.splits[split], kept.splits[split]
        place = {row: i for i, row in enumerate(before.rows.tolist())}
        assert (np.diff(after.rows) > 0).all()
        for row, tag, form in zip(after.rows.tolist(), after.tags.tolist(), after.forms, strict=True):
            assert before.forms[place[row]] == form
            assert starter.names[before.tags[place[row]]] == kept.names[tag]
        assert (kept.counts(split) > 0).all()
    assert kept.counts("train").min() >= 20
    assert len(kept.splits["train"].rows) < len(starter.splits["train"].rows)


def test_every_tag_of_the_starter_survives_and_test_has_its_share(starter):
    kept = keep_types_apart(starter, 0.3, 20, 0)
    assert (kept.names, kept.left_out) == (starter.names, starter.left_out)
    shares = []
    for tag, name in enumerate(starter.names):
        before, after = (
            {form for s in splits for form, t in zip(one.splits[s].types, one.splits[s].tags, strict=True) if t == tag}
            for one, splits in ((starter, ("train", "test")), (kept, ("test",)))
        )
        shares.append(len(after) / len(before))
        assert 0 < shares[-1] < 0.5, name
    assert np.mean(shares) == pytest.approx(0.3, abs=0.05)


def test_the_seed_decides_and_the_order_of_the_splits_does_not(starter):
    def forms(labels: Labels, seed: int) -> list[tuple[str, ...]]:
        kept = keep_types_apart(labels, 0.3, 20, seed)
        return [kept.splits[split].forms for split in SPLITS]

    turned = replace(starter, splits=dict(reversed(starter.splits.items())))
    assert forms(starter, 1) == forms(starter, 1) == forms(turned, 1)
    assert forms(starter, 1) != forms(starter, 2)


def test_labels_are_untouched(starter):
    before = {split: starter.splits[split].tags.copy() for split in SPLITS}
    keep_types_apart(starter, 0.3, 500, 0)
    assert all(np.array_equal(starter.splits[split].tags, before[split]) for split in SPLITS)


def test_rare_tags_are_left_out_with_what_they_had(starter):
    whole, fewer = keep_types_apart(starter, 0.3, 20, 0), keep_types_apart(starter, 0.3, 500, 0)
    counts = dict(zip(whole.names, whole.counts("train").tolist(), strict=True))
    assert fewer.names == tuple(name for name in whole.names if counts[name] >= 500)
    assert fewer.left_out == {"SYM": 18, **{name: n for name, n in counts.items() if n < 500}}
    assert fewer.counts("train").tolist() == [counts[name] for name in fewer.names]


def test_what_cannot_be_is_refused(starter):
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match=f"share must lie between 0 and 1, got {share}"):
            keep_types_apart(starter, share, 20, 0)
    with pytest.raises(ValueError, match="min_words_per_tag must be at least 1, got 0"):
        keep_types_apart(starter, 0.3, 0, 0)
    closed = labels_of("a/0 b/1 b/1 c/1", "a/0 b/1", "a/0 c/1")
    message = r"fewer than two tags of column 'upos' have words in dev and test and min_words_per_tag=1 in train; "
    with pytest.raises(ValueError, match=message + r"words in train/dev/test: ADJ \(1/1/0\), NOUN \(2/1/1\), VERB"):
        keep_types_apart(closed, 0.3, 1, 0)
