"""Keys of a configuration whose values follow from other keys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

if TYPE_CHECKING:
    from omegaconf import DictConfig

TAG = "derived"
"""The MLflow tag of a run that lists these keys, separated by commas."""

_REFERENCE = re.compile(r"(?<!\\)\$\{[^${}:]+\}")


def derived_keys(composed: DictConfig) -> tuple[str, ...]:
    """The keys whose values are made of those of other keys, such as ``n_nonzero: ${top_k}``.

    Values from resolvers (``${oc.env:HOME}``) are not derived, since they may depend on more than
    the configuration. A key stands for all keys below it.

    Args:
        composed: A configuration with its interpolations.

    Returns:
        The dotted keys in alphabetical order.
    """
    return tuple(sorted(_derived(OmegaConf.to_container(composed, resolve=False))))


def derived_tag(keys: Sequence[str]) -> dict[str, str]:
    """The tag with these keys; none without keys."""
    return {TAG: ",".join(keys)} if keys else {}


def derived_in(tags: Mapping[str, str]) -> tuple[str, ...]:
    """The keys in the tags of a run; none for a run without a record of them."""
    return tuple(key for key in tags.get(TAG, "").split(",") if key)


def _derived(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _derived(inner, f"{key}.{name}" if key else str(name))
    elif "${" in str(value) and "${" not in _REFERENCE.sub("", str(value)):
        yield key
