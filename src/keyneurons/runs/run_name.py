"""Names of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keyneurons.config.schema import Config
from keyneurons.metric_names import LONGEST_NAME, shortened
from keyneurons.models.permuted import describe_weights

NAMED = ("site", "layer", "basis", "top_k", "selection", "model.random_weights")  # keys in every name


def run_name(config: Config, choices: Mapping[str, str], swept: Sequence[str] = ()) -> str:
    """A short name for lists of runs: the main settings and the swept keys.

    Args:
        config: the run's configuration.
        choices: the option chosen in each config group.
        swept: the swept keys and groups.
    """
    layers = "-".join(map(str, config.layer)) if isinstance(config.layer, tuple) else config.layer
    seed = config.model.random_weights
    weights = "" if seed is None else f" {describe_weights(seed)}"
    more = "".join(f" {key}={_value(config, choices, key)}" for key in swept if key not in NAMED)
    place = f"{config.site} at {layers}" if isinstance(layers, float) else f"{config.site}.{layers}"
    basis = "" if config.basis.kind == "neurons" else f" {config.basis.kind}"
    name = f"{place}{basis} k{config.top_k} {choices['selection']}{weights}{more}"
    return shortened(" ".join(name.split()), LONGEST_NAME)


def _value(config: Config, choices: Mapping[str, str], key: str) -> str:
    """The value of a swept key or group; for a path, its last component."""
    if key in choices:
        return choices[key]
    value: Any = config.model_dump(mode="json", by_alias=True)
    for part in key.split("."):
        value = value[part] if isinstance(value, Mapping) and part in value else None
    return str(value).rstrip("/").rpartition("/")[2]
