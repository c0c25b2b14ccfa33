"""Scores are cached in a process by everything that they depend on."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from numpy import ndarray
from torch import Tensor

from keyneurons.memo import Memo, identity_of
from keyneurons.pipeline.key_neurons import Selection
from keyneurons.records import Scores
from keyneurons.selection.methods.bottom import Bottom
from keyneurons.selection.rules import Rule
from keyneurons.selection.scorer import NeuronScorer
from keyneurons.selection.scoring import Driver


@dataclass(frozen=True)
class Counting:
    """Scores by the mean and counts its calls."""

    power: int = 1
    per_neuron: ClassVar[bool] = True
    calls: ClassVar[int] = 0

    def __call__(self, values: Tensor, tags: Tensor, n_tags: int) -> Tensor:
        Counting.calls += 1
        return torch.stack([values[tags == tag].double().mean(dim=0) ** self.power for tag in range(n_tags)])


class Undecorated(Counting):
    """A scorer without dataclass fields, which may have hidden settings."""


@dataclass
class Mutable:
    """A mutable scorer otherwise equal to ``Counting``."""

    power: int = 1

    def __call__(self, values: Tensor, tags: Tensor, n_tags: int) -> Tensor:
        return Counting(self.power)(values, tags, n_tags)


@pytest.fixture(autouse=True)
def uncalled() -> None:
    Counting.calls = 0


@pytest.fixture
def memo() -> Memo:
    return Memo(max_bytes=2 * 2 * 4 * 8)  # two tables of 2 tags x 4 neurons


@pytest.fixture
def driver(tmp_path: Path) -> Callable[[], Driver]:
    """Open the same cache again, like the next job."""
    np.save(tmp_path / "3.npy", np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32))
    return lambda: Driver({3: np.load(tmp_path / "3.npy", mmap_mode="r")}, np.arange(6), 2, "mlp", "layer")


TAGS = np.array([0, 1, 0, 1, 1, 0])


def scores(memo: Memo, source: Driver, scorer: NeuronScorer, tags: ndarray = TAGS) -> Scores:
    return Selection(scorer, Rule(1, "layer"), 1, "words", 2**20, 0, memo).scores(source, tags)


def test_the_same_question_is_asked_once(driver: Callable[[], Driver], memo: Memo) -> None:
    first, second = (scores(memo, driver(), Counting()) for _ in range(2))
    assert Counting.calls == 1
    torch.testing.assert_close(second.values, driver().scores(Counting(), TAGS).values, rtol=0, atol=0)
    assert first is second


def test_another_memo_knows_nothing_of_it(driver: Callable[[], Driver], memo: Memo) -> None:
    scores(memo, driver(), Counting())
    scores(Memo(), driver(), Counting())
    assert Counting.calls == 2


def test_any_other_question_is_asked_anew(driver: Callable[[], Driver]) -> None:
    memo = Memo()
    questions = [
        (driver(), Counting(), TAGS),
        (driver(), Counting(power=2), TAGS),
        (driver(), Bottom(Counting()), TAGS),
        (driver(), Counting(), TAGS[::-1].copy()),
        (driver().of_words(np.array([1, 0, 2, 3, 4, 5]), 2), Counting(), TAGS),
        (replace(driver(), scope="model"), Counting(), TAGS),
        (replace(driver(), site="residual"), Counting(), TAGS),
        (replace(driver(), n_tags=3), Counting(), np.array([0, 1, 0, 1, 2, 2])),
    ]
    for asked in questions:
        torch.testing.assert_close(scores(memo, *asked).values, asked[0].scores(*asked[1:]).values, rtol=0, atol=0)
    assert Counting.calls == 2 * len(questions)


def test_another_array_in_its_place_is_seen(driver: Callable[[], Driver], memo: Memo, tmp_path: Path) -> None:
    before = scores(memo, driver(), Counting())
    np.save(tmp_path / "new.npy", np.ones((6, 4), np.float32))
    os.replace(tmp_path / "new.npy", tmp_path / "3.npy")
    assert not torch.equal(scores(memo, driver(), Counting()).values, before.values)


def test_what_cannot_be_told_apart_is_not_kept(driver: Callable[[], Driver], memo: Memo) -> None:
    in_memory = replace(driver(), arrays={3: np.array(driver().arrays[3])})
    unknown = [Undecorated(), Mutable(), partial(Counting()), lambda *given: Counting()(*given), Bottom(Mutable())]
    for asked in [(in_memory, Counting()), *((driver(), scorer) for scorer in unknown)]:
        for _ in range(2):
            scores(memo, *asked)
    assert Counting.calls == 2 * 6
    assert memo.n_results == 0


def test_only_so_much_is_held(driver: Callable[[], Driver], memo: Memo) -> None:
    for power in (1, 2, 3, 1):
        scores(memo, driver(), Counting(power))
    assert Counting.calls == 4
    assert memo.n_results == 2
    scores(memo, driver(), Counting(3))
    assert Counting.calls == 4


def test_a_memo_keeps_any_result_by_its_key() -> None:
    memo, asked = Memo(), []

    def compute() -> float:
        asked.append(1)
        return 0.5

    assert [memo.get(("accuracy", 3), compute) for _ in range(3)] == [0.5] * 3
    assert [memo.get(None, compute) for _ in range(2)] == [0.5] * 2
    assert len(asked) == 3


def test_an_empty_memo_is_not_replaced_by_a_default() -> None:
    memo = Memo()
    assert (memo or Memo()) is memo


def test_a_failure_is_not_kept() -> None:
    memo = Memo()
    with pytest.raises(ZeroDivisionError):
        memo.get("key", lambda: 1 / 0)
    assert memo.get("key", lambda: 2.0) == 2.0


def test_identities_of_equal_values_of_other_types_differ() -> None:
    alike = [Counting(1), Counting(1.0), Counting(True), Undecorated]  # type: ignore[arg-type]
    identities = [identity_of(each) for each in alike]
    assert len(set(identities)) == 4
    assert identities[0] == identity_of(Counting())
    assert identities[3] is None
    assert identity_of((1, ("a", None))) == identity_of((1, ("a", None)))
    assert identity_of((1, [2])) is None
