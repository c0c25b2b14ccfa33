"""The weight files of a model: reading single tensors, and copies with changed tensors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from keyneurons.atomic_files import open_to_umask, write_json
from keyneurons.models.folders import INDEX, WEIGHTS
from keyneurons.models.weights import reading_model


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a folder: the file that has each, and their number format."""

    folder: Path
    files: Mapping[str, Path]
    dtype: torch.dtype

    @classmethod
    def of(cls, folder: Path) -> Checkpoint:
        """The tensors of a model's folder."""
        files: dict[str, Path] = {}
        with reading_model(folder):
            for path in sorted(folder.glob(WEIGHTS)):
                with safe_open(path, framework="pt") as file:
                    files.update(dict.fromkeys(file.keys(), path))
        checkpoint = cls(folder, files, torch.float32)
        return cls(folder, files, checkpoint.read(min(files)).dtype)

    def prefix(self, name: str) -> str:
        """The text before a name of the base model in the names of the files.

        Raises:
            ValueError: no tensor or several have this name.
        """
        found = [full for full in self.files if full == name or full.endswith(f".{name}")]
        if len(found) != 1:
            raise ValueError(f"the weights in {self.folder} have {len(found)} tensors named {name}")
        return found[0].removesuffix(name)

    def read(self, name: str) -> Tensor:
        """Read a tensor."""
        with safe_open(self.files[name], framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    def write(self, folder: Path, changed: Mapping[str, Callable[[], Tensor]]) -> None:
        """Write all files, one at a time, with changed and new tensors.

        Args:
            folder: the folder to write to.
            changed: functions that return the tensors, by name; new ones go to the last file.
        """
        paths = sorted(set(self.files.values()))
        new = changed.keys() - self.files.keys()
        for path in paths:
            own = {name for name in changed if self.files.get(name) == path} | (new if path == paths[-1] else set())
            _write_file(path, folder / path.name, {name: changed[name] for name in sorted(own)})
        for index in folder.glob(INDEX):
            content = json.loads(index.read_text(encoding="utf-8"))
            content["weight_map"].update(dict.fromkeys(sorted(new), paths[-1].name))
            if "total_size" in content.get("metadata", {}):
                content["metadata"]["total_size"] += sum(changed[name]().nbytes for name in new)
            write_json(index, content)


def _write_file(source: Path, target: Path, changed: Mapping[str, Callable[[], Tensor]]) -> None:
    """Write a file with changed tensors, or copy it if none changes."""
    if not changed:
        shutil.copyfile(source, target)
        return
    with safe_open(source, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
        facts = file.metadata()
    save_file(tensors | {name: tensor().contiguous() for name, tensor in changed.items()}, target, metadata=facts)
    open_to_umask(target)
