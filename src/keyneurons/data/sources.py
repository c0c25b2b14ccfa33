"""Treebank sources: the protocol, CoNLL-U files, and the packaged starter treebank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Protocol, runtime_checkable

from keyneurons.data.conllu import read_conllu
from keyneurons.data.splitting import make_treebank, split_sentences
from keyneurons.records import SPLITS, Split, Treebank

DEFAULT_FRACTIONS = (0.7, 0.15, 0.15)


@runtime_checkable
class TreebankSource(Protocol):
    """Loads a treebank; its arguments are set at construction."""

    def load(self) -> Treebank:
        """Read the sentences of all splits."""
        ...


def read_splits(treebank_id: str, files: Mapping[Split, Path]) -> Treebank:
    """Read a treebank with one CoNLL-U file per split."""
    return make_treebank(treebank_id, {split: read_conllu(files[split]).sentences for split in SPLITS})


@dataclass(frozen=True)
class ConlluFiles:
    """CoNLL-U files: one per split, or a single file that is split by sentence with ``seed``."""

    id: str
    train: Path | None = None
    dev: Path | None = None
    test: Path | None = None
    file: Path | None = None
    fractions: Sequence[float] = DEFAULT_FRACTIONS
    seed: int = 0

    def __post_init__(self) -> None:
        names = [name for name in (*SPLITS, "file") if getattr(self, name) is not None]
        if names not in (["file"], list(SPLITS)):
            raise ValueError(
                f"give train, dev and test (three files), or file (one file that is split by sentence); "
                f"got {', '.join(names) or 'none of them'}"
            )

    def load(self) -> Treebank:
        """Read the files.

        Returns:
            The treebank, with sentences in file order.
        """
        if self.file is not None:
            sentences = read_conllu(Path(self.file)).sentences
            return make_treebank(self.id, split_sentences(sentences, self.fractions, self.seed))
        return read_splits(self.id, {split: Path(getattr(self, split)) for split in SPLITS})


@dataclass(frozen=True)
class Starter:
    """The small treebank inside the package, for a first run."""

    def load(self) -> Treebank:
        """Read the packaged files."""
        with resources.as_file(resources.files("keyneurons.data") / "starter") as folder:
            return read_splits("starter", {split: folder / f"{split}.conllu" for split in SPLITS})
