"""Treebanks of Universal Dependencies, downloaded by name or read from a folder."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from keyneurons.atomic_files import write_json, write_text
from keyneurons.data.conllu import read_conllu
from keyneurons.data.sources import DEFAULT_FRACTIONS, read_splits
from keyneurons.data.splitting import make_treebank, split_sentences
from keyneurons.data.treebank_table import RELEASE, ud_treebanks
from keyneurons.digests import file_digest
from keyneurons.progress import stage
from keyneurons.records import SPLITS, Split, Treebank

MIRROR = "https://raw.githubusercontent.com/UniversalDependencies"
KNOWN: dict[tuple[str, str], dict[Split, str]] = {
    ("UD_English-EWT", "2.16"): {
        "train": "3fb78e2b55482c8ee00caa653af436c88c9e5bc9a73ce26e4ae3ddc79d2b7e7b",
        "dev": "531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6",
        "test": "e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd",
    }
}
"""SHA-256 of released files; those of other treebanks are recorded at their first download."""

DIGESTS = "digests.json"
_ROW = re.compile(r"^1(-\d+)?\t", re.MULTILINE)
_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class UniversalDependencies:
    """A treebank of a release, read from ``folder``, or downloaded once from ``mirror``.

    Some treebanks lack a split. Their files are pooled and split by sentence, by ``fractions`` and
    ``seed``. ``folder`` must have a file of the treebank. With ``test``, another treebank, dev and
    test are those of that treebank, from ``test_folder`` or the same place.
    """

    treebank: str
    cache: Path
    folder: Path | None = None
    test: str | None = None
    test_folder: Path | None = None
    release: str = RELEASE
    mirror: str = MIRROR
    fractions: Sequence[float] = DEFAULT_FRACTIONS
    seed: int = 0

    def __post_init__(self) -> None:
        if self.test == self.treebank or (self.test is None and self.test_folder is not None):
            raise ValueError(f"dataset.test must be another treebank than {self.treebank}, got {self.test}")
        if self.folder is not None:
            self._local(Path(self.folder))
        self._tested()  # checks its folder

    @property
    def id(self) -> str:
        """Name in results, such as ``ud_english_ewt``."""
        return self.treebank.lower().replace("-", "_")

    @property
    def files(self) -> Mapping[Split, str]:
        """The file name of each split."""
        code = ud_treebanks()[self.treebank].code
        return {split: f"{code}-ud-{split}.conllu" for split in SPLITS}

    def load(self) -> Treebank:
        """Read the files; without a ``folder``, download missing files first.

        Returns:
            The treebank as released, including its duplicates.
        """
        own, tested = self._load(), self._tested()
        if tested is None:
            return own
        other = tested.load()
        splits = {split: (own if split == "train" else other).splits[split] for split in SPLITS}
        bank = make_treebank(f"{own.id}, tested on {other.id}", splits)
        return replace(bank, pooled={**own.pooled, **other.pooled})

    def _tested(self) -> UniversalDependencies | None:
        """The treebank that dev and test are from, if it is another one."""
        if self.test is None:
            return None
        return replace(self, treebank=self.test, folder=self.test_folder or self.folder, test=None, test_folder=None)

    def _load(self) -> Treebank:
        files = self._downloaded() if self.folder is None else self._local(Path(self.folder))
        if len(files) == len(SPLITS):
            return read_splits(self.id, files)
        sentences = [sentence for path in files.values() for sentence in read_conllu(path).sentences]
        pooled = make_treebank(self.id, split_sentences(sentences, self.fractions, self.seed))
        return replace(pooled, pooled={self.id: tuple(files)})

    def _local(self, folder: Path) -> dict[Split, Path]:
        files = {split: folder / name for split, name in self.files.items()}
        there = {split: path for split, path in files.items() if path.is_file()}
        if len(there) < len(self._expected or there) or not there:
            missing = ", ".join(path.name for split, path in files.items() if split not in there)
            raise ValueError(f"{folder} lacks {missing}: set {self._local_copy}, or omit the folder to download them")
        return there

    def _downloaded(self) -> dict[Split, Path]:
        """The files in the cache, downloaded if they are missing.

        Raises:
            ValueError: If a download fails, or a downloaded file is not the one that is known or
                was downloaded before.
        """
        folder = Path(self.cache) / "datasets" / f"{self.id}-{self.release}"
        record = folder / DIGESTS
        digests = dict(self._expected) or (json.loads(record.read_text("utf-8")) if record.is_file() else {})
        files = {split: folder / name for split, name in self.files.items() if not digests or split in digests}
        new: dict[str, str] = {}
        for split, path in files.items():
            if path.is_file() and file_digest(path) == digests.get(split):
                continue
            text = self._download(path.name, digests.get(split))
            if text is not None:
                new[split] = hashlib.sha256(text.encode()).hexdigest()
                write_text(path, text)
        if not digests:
            if not new:
                raise ValueError(f"{self._address('')} has no file of {self.treebank}: see dataset.release")
            write_json(record, new)
            digests = new
        return {split: path for split, path in files.items() if split in digests}

    @property
    def _expected(self) -> Mapping[Split, str]:
        """The digests of the files that are known to exist; empty if none is known."""
        return KNOWN.get((self.treebank, self.release), {})

    @property
    def _local_copy(self) -> str:
        return f"dataset.folder=FOLDER with {', '.join(self.files.values())}"

    def _address(self, name: str) -> str:
        return f"{self.mirror.rstrip('/')}/{self.treebank}/r{self.release}/{name}"

    def _download(self, name: str, digest: str | None) -> str | None:
        """The text of a file; None if there is none and no digest is known.

        Raises:
            ValueError: If the download fails, or the file is another one than expected.
        """
        address = self._address(name)
        try:
            with stage(f"fetching {address}"), urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310 (the user's own address)
                data: bytes = response.read()
        except (OSError, HTTPException) as error:
            if isinstance(error, HTTPError) and error.code == 404 and digest is None:
                return None
            raise ValueError(
                f"cannot download {address} ({error}): check the network connection, or set {self._local_copy}"
            ) from error
        if digest is not None and (got := hashlib.sha256(data).hexdigest()) != digest:
            raise ValueError(
                f"{address} is not the released file: sha256 {got}, expected {digest}; try again, or set "
                f"{self._local_copy}"
            )
        return self._checked(address, data)

    def _checked(self, address: str, data: bytes) -> str:
        """The text of a downloaded file.

        Raises:
            ValueError: If it is not a treebank but, say, the page of a proxy.
        """
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = ""
        if _ROW.search(text) is None:
            raise ValueError(f"{address} is no CoNLL-U file: check dataset.mirror, or set {self._local_copy}")
        return text
