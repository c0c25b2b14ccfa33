"""Which code a configuration may name that comes from anywhere but this command line."""

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
    r"|hydra_plugins\.hydra_ray_launcher\.ray_launcher\.RayLauncher"
)
"""Optimizers, Lightning's trainer, the launchers that have an option here."""


def check_targets(plain_config: Any, *, given: Collection[str] = ()) -> None:
    """Refuse a configuration that names code which is not known here: instantiating runs it.

    Args:
        plain_config: mappings, lists and plain values, as read from a file.
        given: targets that this command line names itself; they are the user's own decision.

    Raises:
        ValueError: a ``_target_`` is none of these, or an interpolation stands among its arguments.
    """
    for key, node in _components(plain_config, ""):
        target = node["_target_"]
        if target not in given and not _is_known(target):
            raise ValueError(
                f"{key}._target_={target} names code that is not part of keyneurons, and comes from a file or a "
                "tracking server; to run it, give it on the command line"
            )
        if (where := _interpolation(node, key)) is not None:
            raise ValueError(f"{where} holds an interpolation (${{...}}), and comes from a file or a tracking server")


def targets_in(plain_config: Any) -> frozenset[str]:
    """Every target that a configuration names."""
    return frozenset(str(node["_target_"]) for _, node in _components(plain_config, ""))


def _is_known(target: Any) -> bool:
    if not isinstance(target, str):
        return False
    if (ours := OURS.fullmatch(target)) is None:
        return OTHERS.fullmatch(target) is not None
    try:
        found = getattr(import_module(ours[1]), ours[2])
    except (ImportError, AttributeError):
        return False
    return isinstance(found, type) and found.__module__ == ours[1]  # a module can also reach what it imports


def _components(value: Any, key: str) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Every mapping with a target, however deep, under its dotted key."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            yield key, value
        for name, inner in value.items():
            yield from _components(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _components(inner, f"{key}[{i}]")


def _interpolation(value: Any, key: str) -> str | None:
    """The key of a string that Hydra would resolve when it instantiates the mapping around it."""
    if isinstance(value, str):
        return key if "${" in value else None
    inner: Iterator[tuple[str, Any]] = iter(())
    if isinstance(value, Mapping):
        inner = ((f"{key}.{name}", each) for name, each in value.items())
    elif isinstance(value, list | tuple):
        inner = ((f"{key}[{i}]", each) for i, each in enumerate(value))
    return next((found for name, each in inner if (found := _interpolation(each, name)) is not None), None)
