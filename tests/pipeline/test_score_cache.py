"""Scores are computed once in a process for what they depend on, and anew for anything else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from keyneurons.pipeline import score_cache as module
from keyneurons.pipeline.score_cache import known_scores
from keyneurons.selection.scoring import Driver


@dataclass(frozen=True)
class Counting:
    """Scores by a mean, and counts how often it is asked."""

    power: int = 1
    per_neuron: ClassVar[bool] = True
    calls: ClassVar[int] = 0

    def __call__(self, values: Tensor, tags: Tensor, n_tags: int) -> Tensor:
        Counting.calls += 1
        return torch.stack([values[tags == tag].double().mean(dim=0) ** self.power for tag in range(n_tags)])


class Hidden(Counting):
    """Of another's making: its settings do not show."""

    def __repr__(self) -> str:
        return object.__repr__(self)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    module._KNOWN.clear()
    Counting.calls = 0
    yield
    module._KNOWN.clear()


@pytest.fixture
def driver(tmp_path: Path) -> Callable[[], Driver]:
    """Opens the same cache again, as the next job does."""
    np.save(tmp_path / "3.npy", np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32))
    return lambda: Driver({3: np.load(tmp_path / "3.npy", mmap_mode="r")}, np.arange(6), 2, "mlp", "layer")


TAGS = np.array([0, 1, 0, 1, 1, 0])


def test_the_same_question_is_asked_once(driver: Callable[[], Driver]) -> None:
    first, second = (known_scores(driver(), Counting(), TAGS) for _ in range(2))
    assert Counting.calls == 1
    torch.testing.assert_close(second.values, driver().scores(Counting(), TAGS).values, rtol=0, atol=0)
    assert first is second


def test_any_other_question_is_asked_anew(driver: Callable[[], Driver]) -> None:
    questions = [
        (driver(), Counting(), TAGS),
        (driver(), Counting(power=2), TAGS),
        (driver(), Counting(), TAGS[::-1].copy()),
        (driver().of_words(np.array([1, 0, 2, 3, 4, 5])), Counting(), TAGS),
        (replace(driver(), scope="model"), Counting(), TAGS),
        (replace(driver(), site="residual"), Counting(), TAGS),
        (replace(driver(), n_tags=3), Counting(), np.array([0, 1, 0, 1, 2, 2])),
    ]
    for asked in questions:
        torch.testing.assert_close(known_scores(*asked).values, asked[0].scores(*asked[1:]).values, rtol=0, atol=0)
    assert Counting.calls == 2 * len(questions)


def test_another_array_in_its_place_is_seen(driver: Callable[[], Driver], tmp_path: Path) -> None:
    before = known_scores(driver(), Counting(), TAGS)
    np.save(tmp_path / "new.npy", np.ones((6, 4), np.float32))
    os.replace(tmp_path / "new.npy", tmp_path / "3.npy")
    assert not torch.equal(known_scores(driver(), Counting(), TAGS).values, before.values)


def test_what_cannot_be_told_apart_is_not_remembered(driver: Callable[[], Driver]) -> None:
    in_memory = replace(driver(), arrays={3: np.array(driver().arrays[3])})
    for asked in [(in_memory, Counting()), (driver(), Hidden())]:
        for _ in range(2):
            known_scores(*asked, TAGS)
    assert Counting.calls == 4
    assert not module._KNOWN


def test_only_so_much_is_held(driver: Callable[[], Driver], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELD_BYTES", 2 * 2 * 4 * 8)  # two tables of 2 tags x 4 neurons
    for power in (1, 2, 3, 1):
        known_scores(driver(), Counting(power), TAGS)
    assert Counting.calls == 4
    assert len(module._KNOWN) == 2
    known_scores(driver(), Counting(3), TAGS)
    assert Counting.calls == 4
