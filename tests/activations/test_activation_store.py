"""The cache returns computed activations, complete, and computes none twice."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from models import sentences

from keyneurons.activations import partial
from keyneurons.activations.entry import Entry
from keyneurons.activations.extract import plan_batches
from keyneurons.activations.store import ActivationStore
from keyneurons.models.language_model import LanguageModel

TEXTS = sentences()


class Unloaded(LanguageModel):
    @property
    def network(self):
        raise AssertionError("the weights were loaded")


def content(store):
    return {
        str(p.relative_to(store.folder)): p.read_bytes()
        for p in store.folder.rglob("*")
        if p.suffix in {".npy", ".json"}
    }


def n_batches(read):
    return len(plan_batches([len(e.ids) for e in read.encode(TEXTS)], read.batch_tokens))


def test_a_second_reading_loads_no_model(reader, tiny, passes):
    first = reader()(TEXTS, "x")
    n = len(passes)
    assert n > 0
    second = reader(model=Unloaded(tiny().files, device="cpu"))(TEXTS, "x")
    assert len(passes) == n
    for layer in (0, 2):
        assert isinstance(second[layer], np.memmap)
        assert not second[layer].flags.writeable
        assert second[layer].dtype == np.float16
        np.testing.assert_array_equal(first[layer], second[layer])


def test_one_more_layer_or_site_adds_its_array_only(reader):
    read = reader()
    read(TEXTS, "x")
    before = content(read.store)
    more = replace(read, layers=(0, 1, 2))
    more(TEXTS, "x")
    after = content(read.store)
    assert {k: after[k] for k in before} == before
    folder = next(iter(before)).split("/")[0]
    assert set(after) - set(before) == {f"{folder}/residual.1.npy", f"{folder}/residual.1.json"}
    replace(read, site="mlp", layers=(1,))(TEXTS, "x")
    assert set(content(read.store)) - set(after) == {f"{folder}/mlp.1.npy", f"{folder}/mlp.1.json"}


def flip(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "damage",
    [
        lambda array, manifest: flip(array),
        lambda array, manifest: array.write_bytes(array.read_bytes()[:-10]),
        lambda array, manifest: array.write_bytes(b""),
        lambda array, manifest: array.unlink(),
        lambda array, manifest: manifest.unlink(),
        lambda array, manifest: manifest.write_text("{"),
        lambda array, manifest: manifest.write_text("{}"),
        lambda array, manifest: manifest.write_text("[]"),
        lambda array, manifest: manifest.write_bytes(b"\xff"),
        lambda array, manifest: manifest.write_text("[" * 100_000),
        lambda array, manifest: [shutil.copy(p.with_name(p.name.replace("2", "0")), p) for p in (array, manifest)],
    ],
    ids=[
        *("flip", "truncate", "empty", "no array", "no manifest", "half manifest", "no digest", "list", "not text"),
        *("too deep", "copy of another layer"),
    ],
)
def test_a_damaged_array_is_made_again(reader, passes, damage):
    read = reader()
    read(TEXTS, "x")
    good = content(read.store)
    n = len(passes)
    folder = read.store.entry(read.key(TEXTS)).folder
    damage(folder / "residual.2.npy", folder / "residual.2.json")
    assert content(read.store) != good
    read(TEXTS, "x")
    assert len(passes) == 2 * n
    assert content(read.store) == good


def test_an_entry_under_the_name_of_another_is_made_again(reader, passes):
    read, texts = reader(), TEXTS[::-1]
    read(TEXTS, "x")
    want = {layer: np.array(values) for layer, values in read(texts, "y").items()}
    folder, other = (read.store.entry(read.key(each)).folder for each in (texts, TEXTS))
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    n = len(passes)
    got = read(texts, "y")
    assert len(passes) > n
    for layer, values in want.items():
        np.testing.assert_array_equal(got[layer], values)


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_all_files_follow_the_umask(reader, tmp_path, umask):
    read = replace(reader(), store=ActivationStore(tmp_path / "shared"))
    before = os.umask(umask)
    try:
        read(TEXTS, "x")
    finally:
        os.umask(before)
    paths = list(read.store.folder.rglob("*"))
    assert any(path.suffix == ".lock" for path in paths)
    for path in paths:
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~umask, path


def test_disk_full(reader, monkeypatch):
    read = reader()
    reserve, calls = os.posix_fallocate, []

    def full(file, start, size):
        calls.append(size)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        reserve(file, start, size)

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"No space left on device; [\d,]+ bytes are needed: '.*npy'"):
        read(TEXTS, "x")
    assert len(calls) == 2
    assert [path for path in read.store.folder.rglob("*") if path.suffix != ".lock"] == []
    assert read.store.summaries() == ([], [])
    monkeypatch.undo()
    assert len(read(TEXTS, "x")[2]) > 0


@pytest.mark.parametrize("step", ["numpy.lib.format.open_memmap", "os.fsync"])
def test_disk_full_names_the_array(tmp_path, monkeypatch, step):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    filled = partial.PartialArrays.open(tmp_path, [1], (4, 2), "float16")
    filled.put(np.arange(4), {1: np.ones((4, 2))})
    monkeypatch.setattr(step, full)
    with pytest.raises(OSError, match=r"No space left on device; \d+ bytes are needed: '.*1\.npy'"):
        filled.checkpoint() if step == "os.fsync" else partial._reserve(tmp_path / "1.npy", (4, 2), "float16")


class Killed(BaseException):
    """Simulates Ctrl-C or a kill between two steps."""


def stop_after(monkeypatch, n):
    """Checkpoint after every step, and stop before step ``n``."""
    monkeypatch.setattr(partial, "CHECKPOINT_SECONDS", -1)
    put = partial.PartialArrays.put

    def counted(self, rows, values):
        if self._steps_written == n:
            raise Killed
        put(self, rows, values)

    monkeypatch.setattr(partial.PartialArrays, "put", counted)


@pytest.fixture
def interrupted(reader, passes):
    """A reader of three layers stopped after the third step, and its results without the stop."""
    read = reader(layers=(0, 1, 2), batch_tokens=30)
    expected = replace(read, store=ActivationStore(read.store.folder.with_name("other")))
    expected(TEXTS, "x")
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Killed):
            read(TEXTS, "x")
    passes.clear()
    return read, content(expected.store)


def test_an_interrupted_extraction_goes_on(interrupted, passes):
    read, expected = interrupted
    read(TEXTS, "x")
    assert len(passes) == n_batches(read) - 3 > 0
    assert content(read.store) == expected


def test_it_goes_on_for_some_of_its_layers_first(interrupted, passes):
    read, expected = interrupted
    replace(read, layers=(1,))(TEXTS, "x")
    assert len(passes) == n_batches(read) - 3
    read(TEXTS, "x")
    assert len(passes) == 2 * (n_batches(read) - 3)
    assert content(read.store) == expected


def test_layers_that_join_later_start_at_the_beginning(interrupted, passes):
    read, expected = interrupted
    replace(read, layers=(0, 1, 2, 3))(TEXTS, "x")
    assert len(passes) == n_batches(read)
    found = content(read.store)
    assert {k: found[k] for k in expected} == expected


def test_another_plan_starts_at_the_beginning(interrupted, passes):
    read, expected = interrupted
    replace(read, batch_tokens=60)(TEXTS, "x")
    assert sum(passes) == len(TEXTS)
    assert set(content(read.store)) == set(expected)


def test_another_site_leaves_the_progress_alone(interrupted, passes):
    read, _ = interrupted
    replace(read, site="mlp", layers=(0,))(TEXTS, "x")
    passes.clear()
    read(TEXTS, "x")
    assert len(passes) == n_batches(read) - 3


@pytest.mark.parametrize("damage", ["progress.json", "1.npy"])
def test_damaged_progress_is_not_gone_on_with(interrupted, passes, damage):
    read, expected = interrupted
    path = next(read.store.folder.rglob(damage))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    read(TEXTS, "x")
    assert len(passes) == n_batches(read)
    assert content(read.store) == expected


@pytest.fixture
def half_admitted(reader, passes):
    """A reader that was stopped when the first of its three arrays had been admitted."""
    read = reader(layers=(0, 1, 2), batch_tokens=30)
    admit = Entry._admit

    def stop(self, path, site, layer, shape, dtype):
        if layer == 1:
            raise Killed
        admit(self, path, site, layer, shape, dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Entry, "_admit", stop)
        with pytest.raises(Killed):
            read(TEXTS, "x")
    passes.clear()
    return read


def undisturbed(read):
    fresh = replace(read, store=ActivationStore(read.store.folder.with_name("other")))
    fresh(TEXTS, "x")
    return content(fresh.store)


def test_stopped_while_the_arrays_are_admitted(half_admitted, passes):
    half_admitted(TEXTS, "x")
    assert passes == []
    assert content(half_admitted.store) == undisturbed(half_admitted)


def test_a_new_array_never_passes_for_an_old_one(half_admitted, monkeypatch):
    flip(next(half_admitted.store.folder.rglob("residual.0.npy")))
    with monkeypatch.context() as patch:
        stop_after(patch, 0)
        with pytest.raises(Killed):
            half_admitted(TEXTS, "x")
    half_admitted(TEXTS, "x")
    assert content(half_admitted.store) == undisturbed(half_admitted)


def test_summaries_say_what_there_is(reader):
    read = reader()
    assert read.store.summaries() == ([], [])
    read(TEXTS, "x")
    replace(read, dtype="float32")(TEXTS[:2], "x")
    old = read.store.entry(read.key(TEXTS)).folder
    os.utime(old, (0, 0))
    (new, last), _ = read.store.summaries()
    assert last["folder"] == old
    assert last["key"]["model"] == "tiny"
    assert json.loads(json.dumps(read.key(TEXTS))).items() <= last["key"].items()
    assert last["arrays"] == ["residual.0", "residual.2"]
    assert last["bytes"] == sum(p.stat().st_size for p in old.iterdir())
    assert new["days"] < 1 < last["days"]
    read(TEXTS, "x")
    assert max(record["days"] for record in read.store.summaries()[0]) < 1


def test_prune_removes_what_was_not_used(reader):
    read = reader()
    read(TEXTS, "x")
    read(TEXTS[:2], "x")
    old, new = (read.store.entry(read.key(texts)).folder for texts in (TEXTS, TEXTS[:2]))
    os.utime(old, (0, 0))
    assert read.store.prune(30.0) == ([old], [])
    assert not old.exists()
    assert new.exists()
    assert read.store.prune(0.0) == ([new], [])
    assert read.store.summaries() == ([], [])
    assert len(read(TEXTS, "x")[0]) > 0


def test_prune_leaves_what_is_being_filled(reader):
    read = reader()
    read(TEXTS, "x")
    entry = read.store.entry(read.key(TEXTS))
    with entry.lock():
        assert read.store.prune(0.0) == ([], [])
    assert entry.folder.exists()
    assert read.store.prune(0.0) == ([entry.folder], [])


def test_an_array_in_use_outlives_its_entry(reader):
    read = reader()
    held = read(TEXTS, "x")[2]
    copy = np.array(held)
    read.store.prune(0.0)
    np.testing.assert_array_equal(held, copy)


def test_a_bit_that_flipped_between_kill_and_resume_is_not_sealed(interrupted, passes):
    read, expected = interrupted
    (array,) = read.store.folder.glob("*/partial-*/1.npy")
    done = json.loads((array.parent / "progress.json").read_text())
    assert {layer["steps"] for layer in done.values()} == {3}
    changed = np.load(array, mmap_mode="r+")
    row = int(np.flatnonzero(np.abs(changed).sum(1))[0])  # a row that was written
    changed[row, 3] += 1
    changed.flush()
    read(TEXTS, "x")
    assert len(passes) == n_batches(read)
    assert content(read.store) == expected


@pytest.mark.parametrize("damage", ["", "[]", '{"0": 3}', '{"0": {"steps": 900, "crc": 0}}', "\x00", "[" * 100_000])
def test_progress_that_is_damaged_counts_for_nothing(interrupted, damage):
    read, expected = interrupted
    (progress,) = read.store.folder.glob("*/partial-*/progress.json")
    progress.write_text(damage)
    read(TEXTS, "x")
    assert content(read.store) == expected


def test_a_valid_entry_needs_no_lock(reader, monkeypatch):
    read = reader()
    whole = {layer: array.copy() for layer, array in read(TEXTS, "x").items()}

    def closed(*_, **__):
        raise PermissionError("another user's")

    monkeypatch.setattr("keyneurons.activations.entry.FileLock", closed)
    monkeypatch.setattr(os, "utime", closed)
    again = reader()(TEXTS, "x")
    assert all((whole[layer] == again[layer]).all() for layer in whole)


def test_what_is_no_entry_is_told_and_left_alone(reader, tmp_path):
    read = reader()
    read(TEXTS, "x")
    (entry,) = (path for path in read.store.folder.iterdir() if path.is_dir())
    content = {
        "empty": None,
        "damaged": '{"model"',
        "list": "[]",
        "foreign": '{"name": "other"}',
        "numbers": '{"model": 1, "revision": 2, "texts": 3, "read_at": 4}',
    }
    for name, text in content.items():
        (read.store.folder / name).mkdir()
        if text is not None:
            (read.store.folder / name / "key.json").write_text(text)
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(entry / "key.json", tmp_path / "elsewhere")
    (read.store.folder / "link").symlink_to(tmp_path / "elsewhere")
    (read.store.folder / "loop").symlink_to(read.store.folder / "loop")
    found, foreign = read.store.summaries()
    assert [record["folder"] for record in found] == [entry]
    assert len(foreign) == len(content) + 1
    assert all(str(read.store.folder / name) in " ".join(foreign) for name in [*content, "link"])
    removed, skipped = read.store.prune(0.0)
    assert (removed, skipped) == ([entry], foreign)
    assert (tmp_path / "elsewhere" / "key.json").is_file()


def test_pipes_in_the_place_of_files(reader):
    """Reading a pipe would block: such a key is not an entry, such an array is computed again."""
    read = reader()
    whole = read(TEXTS, "x")
    (entry,) = (path for path in read.store.folder.iterdir() if path.is_dir())
    for pattern in ("*.npy", "*.*.json"):
        path = next(entry.glob(pattern))
        path.unlink()
        os.mkfifo(path)
        again = reader()(TEXTS, "x")
        assert all(np.array_equal(whole[layer], again[layer]) for layer in whole)
        assert path.is_file()
    (entry / "key.json").unlink()
    os.mkfifo(entry / "key.json")
    assert read.store.summaries() == (
        [],
        [f"{entry} is not a cache entry: {entry / 'key.json'} is not a regular file"],
    )
