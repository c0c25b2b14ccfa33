"""The files of a model on this machine: which there must be, and what names them in every record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


def require_weights(folder: Path) -> None:
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
