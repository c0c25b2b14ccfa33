"""Checks of ``_target_`` in configurations from files and tracking servers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from typing import Any

OURS = re.compile(r"(keyneurons\.(?:selection\.methods|attribution|pipeline\.controls)\.\w+)\.([A-Z]\w*)")
OTHERS = re.compile(
    r"torch\.optim\.[A-Z]\w*"
    r"|lightning\.(?:pytorch\.)?Trainer"
    r"|hydra_plugins\.hydra_joblib_launcher\.joblib_launcher\.JoblibLauncher"
    r"|hydra_plugins\.hydra_submitit_launcher\.submitit_launcher\.(?:Local|Slurm)Launcher"
    r"|hydra_plugins\.keyneurons_ray\.launcher\.RayLauncher"
)
"""Optimizers, Lightning's trainer and the launchers in ``conf/``."""


def check_targets(plain_config: Any, *, trusted: Collection[str] = ()) -> None:
    """Reject a configuration with unknown targets, since instantiation runs their code.

    Args:
        plain_config: Mappings, lists and plain values, as read from a file.
        trusted: Targets that the user names on the command line.

    Raises:
        ValueError: If a ``_target_`` is unknown, or its arguments contain an interpolation.
    """
    for key, node in _components(plain_config, ""):
        target = node["_target_"]
        if target not in trusted and not _is_known(target):
            raise ValueError(
                f"{key}._target_={target} names code outside keyneurons, and comes from a file or a tracking "
                "server; to run it, give it on the command line"
            )
        if (where := _interpolation(node, key)) is not None:
            raise ValueError(
                f"{where} contains an interpolation (${{...}}), and comes from a file or a tracking server"
            )


def targets_in(plain_config: Any) -> frozenset[str]:
    """Collect every target in a configuration."""
    return frozenset(str(node["_target_"]) for _, node in _components(plain_config, ""))


def _is_known(target: Any) -> bool:
    if not isinstance(target, str):
        return False
    if (ours := OURS.fullmatch(target)) is None:
        return OTHERS.fullmatch(target) is not None
    try:
        target_class = getattr(import_module(ours[1]), ours[2])
    except (ImportError, AttributeError):
        return False
    # the second check excludes classes that the module only imports
    return isinstance(target_class, type) and target_class.__module__ == ours[1]


def _components(value: Any, key: str) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Yield every mapping with a target, at any depth, with its dotted key."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            yield key, value
        for name, inner in value.items():
            yield from _components(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _components(inner, f"{key}[{i}]")


def _interpolation(value: Any, key: str) -> str | None:
    """Find the key of a string that Hydra would resolve at instantiation."""
    if isinstance(value, str):
        return key if "${" in value else None
    inner: Iterator[tuple[str, Any]] = iter(())
    if isinstance(value, Mapping):
        inner = ((f"{key}.{name}", each) for name, each in value.items())
    elif isinstance(value, list | tuple):
        inner = ((f"{key}[{i}]", each) for i, each in enumerate(value))
    return next((where for name, each in inner if (where := _interpolation(each, name)) is not None), None)
