"""Local files of a model: required files, identity and digests."""

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
    """Local files of a model, with the id and revision that identify the model in every record.

    ``digests`` maps file names to their expected SHA-256, where known; ``remedy`` tells the user
    what to do about a file with another digest.
    """

    path: Path
    id: str
    revision: str
    digests: Mapping[str, str] = field(default_factory=dict)
    remedy: str = ""

    def check(self) -> None:
        """Compare all files with their known digests.

        Raises:
            ValueError: a file is damaged.
        """
        check_undamaged({self.path / name: digest for name, digest in self.digests.items()}, self.remedy)


def require_weights(folder: Path) -> None:
    """Check that a folder has weights, and none that its digests would miss.

    Raises:
        FileNotFoundError: the folder has no safetensors.
        ValueError: the config or an index names weights outside the folder.
    """
    if not list(folder.glob(WEIGHTS)):
        raise FileNotFoundError(f"{folder} has no weights in safetensors ({WEIGHTS}); other formats are not supported")
    config = _read_mapping(folder / "config.json")
    if "transformers_weights" in config:
        raise ValueError(f"{folder / 'config.json'}: transformers_weights is not supported; weights are {WEIGHTS}")
    for index in folder.glob(INDEX):
        shards = _read_mapping(index).get("weight_map")
        for shard in shards.values() if isinstance(shards, dict) else [shards]:
            if not isinstance(shard, str) or Path(shard).name != shard or not (folder / shard).is_file():
                raise ValueError(f"{index}: {shard!r} is not a file of this folder")


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        mapping = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(mapping, dict):
        raise ValueError(f"{path} is damaged: not a JSON object")
    return mapping
