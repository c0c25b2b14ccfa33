"""Names of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keyneurons.config.schema import Config
from keyneurons.metric_names import LONGEST_NAME, shortened

NAMED = ("site", "layer", "top_k", "selection", "model.random_weights")  # what every name says


def run_name(config: Config, choices: Mapping[str, str], swept: Sequence[str] = ()) -> str:
    """What tells the runs of a sweep apart, in the few characters that a list of runs shows.

    Args:
        config: the run's configuration.
        choices: the option chosen in each config group.
        swept: keys and groups that differ between the jobs of the sweep.
    """
    layers = "-".join(map(str, config.layer)) if isinstance(config.layer, tuple) else config.layer
    untrained = " random weights" if config.model.random_weights else ""
    more = "".join(f" {key}={_value(config, choices, key)}" for key in swept if key not in NAMED)
    name = f"{config.site}.{layers} k{config.top_k} {choices['selection']}{untrained}{more}"
    return shortened(" ".join(name.split()), LONGEST_NAME)


def _value(config: Config, choices: Mapping[str, str], key: str) -> str:
    """The value of a swept key or group, of a path its last part."""
    if key in choices:
        return choices[key]
    value: Any = config.model_dump(mode="json", by_alias=True)
    for part in key.split("."):
        value = value[part] if isinstance(value, Mapping) and part in value else None
    return str(value).rstrip("/").rpartition("/")[2]
