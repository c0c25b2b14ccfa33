"""Results of probes on disk: each is computed once, and damaged files are computed again."""

from __future__ import annotations

import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from keyneurons.pipeline.trial_results import ResultStore, result_key

RIGHT = np.array([[True, False, True], [False, False, True]])


class Counted:
    """Computes a result and counts how often."""

    def __init__(self, values: np.ndarray = RIGHT) -> None:
        self.values, self.times = values, 0

    def __call__(self) -> np.ndarray:
        self.times += 1
        return self.values


@pytest.mark.parametrize("values", [RIGHT, np.arange(5, dtype=np.uint8), np.empty((2, 0), dtype=bool)], ids=str)
def test_a_result_is_computed_once(tmp_path: Path, values: np.ndarray) -> None:
    compute, key = Counted(values), result_key("a", values)
    for _ in range(2):
        read = ResultStore(tmp_path / "probes").get(key, compute)
        assert read.dtype == values.dtype
        assert np.array_equal(read, values)
    assert compute.times == 1


def test_without_a_folder_or_a_key_nothing_is_stored(tmp_path: Path) -> None:
    compute = Counted()
    for store, key in ((ResultStore(), "k"), (ResultStore(tmp_path), None)):
        for _ in range(2):
            assert np.array_equal(store.get(key, compute), RIGHT)
    assert compute.times == 4
    assert not list(tmp_path.iterdir())


def test_keys_differ_in_every_part() -> None:
    columns = np.array([[1, 2], [3, 4]])
    keys = [
        result_key("trial", columns),
        result_key("trial", columns.T),
        result_key("trial", columns.astype(np.int32)),
        result_key("trial", columns.ravel()),
        result_key("trial", columns[0], columns[1]),
        result_key("trial", columns[0], columns[1], {"C": 1.0}),
        result_key("trial", columns[0], columns[1], {"C": 2.0}),
        result_key("tria", "l", columns),
    ]
    assert len(set(keys)) == len(keys)
    assert result_key("trial", columns.copy()) == keys[0]


def changed(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    "damage",
    [changed, lambda content: content[:-1], lambda _: b"", lambda _: b"x" * 100],
    ids=["bit", "cut", "empty", "other"],
)
def test_a_damaged_file_is_computed_again(tmp_path: Path, damage) -> None:
    store, compute = ResultStore(tmp_path), Counted()
    store.get("k", compute)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    for _ in range(2):
        assert np.array_equal(store.get("k", compute), RIGHT)
    assert compute.times == 2


def test_the_result_of_another_key_is_not_used(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.save("a", RIGHT)
    (tmp_path / "a.safetensors").rename(tmp_path / "b.safetensors")
    assert store.load("b") is None


def test_several_threads_may_write_the_same_result(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda _: ResultStore(tmp_path).get("k", lambda: RIGHT), range(40)))
    assert all(np.array_equal(values, RIGHT) for values in read)
    assert [path.name for path in tmp_path.iterdir()] == ["k.safetensors"]


def test_a_folder_that_cannot_be_written_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "taken").write_text("")
    compute = Counted()
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(ResultStore(tmp_path / "taken").get("k", compute), RIGHT)
    (record,) = caplog.records
    assert "probe results are not cached" in record.getMessage()
    assert str(tmp_path / "taken") in record.getMessage()


def test_unused_results_are_pruned_and_other_files_are_kept(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for key in ("old", "used", "new"):
        store.save(key, RIGHT)
    (tmp_path / ".1.tmp").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    before = time.time() - 3 * 86400
    for name in ("old.safetensors", "used.safetensors", ".1.tmp", "notes.txt"):
        os.utime(tmp_path / name, (before, before))
    store.load("used")
    assert store.size() == (3, sum(path.stat().st_size for path in tmp_path.glob("*.safetensors")))
    assert store.prune(2.0) == (1, [])
    assert {path.name for path in tmp_path.iterdir()} == {"used.safetensors", "new.safetensors", "notes.txt"}
    assert store.prune(0.0) == (2, [])
    assert ResultStore(tmp_path / "missing").prune(0.0) == (0, [])
