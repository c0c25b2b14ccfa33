"""UD English EWT, release 2.16 (CC BY-SA 4.0).

Silveira et al. 2014, *A Gold Standard Dependency Corpus for English*.
"""

from __future__ import annotations

import hashlib
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from keyneurons.atomic_files import write_text
from keyneurons.data.sources import read_splits
from keyneurons.digests import file_digest
from keyneurons.progress import stage
from keyneurons.records import SPLITS, Split, Treebank

ADDRESS = "https://raw.githubusercontent.com/UniversalDependencies/UD_English-EWT/r2.16/"
FILES: dict[Split, str] = {split: f"en_ewt-ud-{split}.conllu" for split in SPLITS}
SHA256: dict[Split, str] = {
    "train": "3fb78e2b55482c8ee00caa653af436c88c9e5bc9a73ce26e4ae3ddc79d2b7e7b",
    "dev": "531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6",
    "test": "e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd",
}
_TIMEOUT_SECONDS = 60
_LOCAL_COPY = f"dataset.folder=FOLDER with {', '.join(FILES.values())}"


@dataclass(frozen=True)
class UDEnglishEWT:
    """The release, read from ``folder`` or downloaded once from ``address`` to ``cache``.

    ``folder`` must have the three files.
    """

    folder: Path | None
    cache: Path
    address: str = ADDRESS

    def __post_init__(self) -> None:
        if self.folder is not None:
            _local_files(Path(self.folder))

    def load(self) -> Treebank:
        """Read the three files; without a ``folder``, download missing files first.

        Raises ``ValueError`` if a download fails, or a downloaded file has the wrong digest.

        Returns:
            The treebank as released, including its duplicates.
        """
        files = self._cached_files() if self.folder is None else _local_files(Path(self.folder))
        return read_splits("ud_english_ewt", files)

    def _cached_files(self) -> dict[Split, Path]:
        folder = Path(self.cache) / "datasets" / "ud_english_ewt-2.16"
        files = {split: folder / name for split, name in FILES.items()}
        for split, path in files.items():
            if not path.is_file() or file_digest(path) != SHA256[split]:
                write_text(path, _download(self.address + path.name, SHA256[split]))
        return files


def _local_files(folder: Path) -> dict[Split, Path]:
    files = {split: folder / name for split, name in FILES.items()}
    if missing := [path.name for path in files.values() if not path.is_file()]:
        raise ValueError(
            f"{folder} lacks {', '.join(missing)}: set {_LOCAL_COPY}, or omit the folder to download the release"
        )
    return files


def _download(address: str, sha256: str) -> str:
    try:
        with stage(f"fetching {address}"), urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310 (the user's own address)
            data: bytes = response.read()
    except (OSError, HTTPException) as error:
        raise ValueError(
            f"cannot download {address} ({error}): check the network connection, or set {_LOCAL_COPY}"
        ) from error
    if (got := hashlib.sha256(data).hexdigest()) != sha256:
        raise ValueError(
            f"{address} is not the released file: sha256 {got}, expected {sha256}; try again, or set {_LOCAL_COPY}"
        )
    return data.decode()
