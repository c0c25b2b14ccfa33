"""Files are written completely or not at all, with the permissions of the umask."""

from __future__ import annotations

import errno
import os

import pytest
import torch
from safetensors.torch import load_file

from keyneurons.atomic_files import write_json, write_tensors, write_text


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_permissions_follow_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_json(tmp_path / "a.json", {})
        write_tensors(tmp_path / "b.safetensors", {"x": torch.ones(2)}, {})
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o666 & ~mask}


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "note.txt"
    write_text(path, "old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for write in (lambda: write_text(path, "new"), lambda: write_tensors(path, {"x": torch.ones(2)}, {})):
        with pytest.raises(OSError, match=r"No space left on device; \d+ bytes are needed") as error:
            write()
        assert error.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OSError, match="taken"):
        write_text(tmp_path / "taken" / "note.txt", "new")


def test_tensors_come_back(tmp_path):
    write_tensors(tmp_path / "t.safetensors", {"x": torch.arange(6.0).reshape(2, 3)}, {"site": "mlp"})
    assert torch.equal(load_file(tmp_path / "t.safetensors")["x"], torch.arange(6.0).reshape(2, 3))
