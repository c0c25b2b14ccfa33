"""What a user has at hand, and how a command ended."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KEYNEURONS = Path(sys.executable).parent / "keyneurons"
WORDS = {
    "NOUN": ["dog", "cat", "rain", "roof", "lamp", "moon", "house", "key"],
    "VERB": ["runs", "reads", "sees", "hears", "finds", "gives"],
    "DET": ["the", "a", "this", "every"],
    "PRON": ["she", "he", "they", "it"],
}


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit status and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on stderr."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        assert len(lines) == 1, self.err
        return lines[0]


@dataclass(frozen=True)
class Place:
    """What a user has at hand: models and a treebank, the cache, and the overrides that name them."""

    folder: Path
    cache: Path
    llama: Path
    bert: Path
    treebank: Path

    @property
    def data(self) -> list[str]:
        return ["dataset=conllu", f"dataset.file={self.treebank}"]

    @property
    def small(self) -> list[str]:
        """A whole run in a second or two."""
        return ["model=local", f"model.folder={self.llama}", *self.data, "layer=2", "top_k=3", "trainer=cpu"]


Command = Callable[..., Ended]


def write_treebank(path: Path, n: int = 60, seed: int = 0) -> Path:
    """Different short sentences of four tags; every word has one tag."""
    draw, seen, blocks = random.Random(seed), set(), []
    while len(blocks) < n:
        tags = draw.choice([["DET", "NOUN", "VERB", "DET", "NOUN"], ["PRON", "VERB", "DET", "NOUN"]])
        tags = tags + draw.choice([[], ["VERB", "PRON", "DET", "NOUN"]])
        words = [draw.choice(WORDS[tag]) for tag in tags]
        text = " ".join(words)
        if text in seen:
            continue
        seen.add(text)
        rows = [f"{i}\t{w}\t{w}\t{t}\t_\t_\t0\t_\t_\t_" for i, (w, t) in enumerate(zip(words, tags, strict=True), 1)]
        blocks.append("\n".join([f"# sent_id = s{len(blocks)}", f"# text = {text}", *rows, ""]))
    path.write_text("\n".join(blocks) + "\n", encoding="utf-8")
    return path


def client_of(folder: Path) -> MlflowClient:
    """A client of the store that runs started in a folder go to."""
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")


def runs_in(folder: Path) -> list[Run]:
    """All runs of that store, the oldest first."""
    client = client_of(folder)
    found = client.search_runs([e.experiment_id for e in client.search_experiments()], order_by=["start_time"])
    return list(found)


def artifacts_of(run: Run) -> Path:
    """Where the artifacts of a run lie."""
    return Path(run.info.artifact_uri.removeprefix("file://"))


def output_folders(folder: Path) -> list[Path]:
    """The folders that runs started in a folder left, the oldest first."""
    return sorted(path.parent for path in (folder / "outputs").glob("*/*/run.json"))
