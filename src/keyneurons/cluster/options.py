"""The keys of ``hydra/launcher=ray``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

PREFIX = "hydra.launcher"


@dataclass(frozen=True)
class RayOptions:
    """Address of a cluster, resources of a job or worker, and number of workers of an extraction.

    ``address`` is None for a Ray of the command's own on this machine; ``workers`` is None for as
    many as fit on the nodes.
    """

    address: str | None = None
    num_cpus: int = 1
    num_gpus: int | float = 0
    workers: int | None = None

    @property
    def demand(self) -> Mapping[str, float]:
        """Ray's resources of a job or worker."""
        return {"CPU": float(self.num_cpus), **({"GPU": float(self.num_gpus)} if self.num_gpus else {})}


def ray_options(launcher: Mapping[str, Any]) -> RayOptions:
    """The options in the section ``hydra.launcher``.

    Raises:
        ValueError: a value is not legal.
    """
    options = {str(key): value for key, value in launcher.items() if key != "_target_"}
    for name, value in options.items():
        is_legal, legal = LEGAL[name]
        if not is_legal(value):
            raise ValueError(f"{PREFIX}.{name} must be {legal}, got {value!r}")
    return RayOptions(**options)


def _is_address(value: object) -> bool:
    return value is None or bool(re.fullmatch(r"auto|[^\s:/]+:\d{1,5}", str(value)))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_share(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0 <= value < 1 or (value >= 1 and value % 1 == 0)


LEGAL: Mapping[str, tuple[Callable[[object], bool], str]] = MappingProxyType({
    "address": (_is_address, "null (Ray on this machine only), auto or HOST:PORT"),
    "num_cpus": (_is_count, "an integer of 1 or more"),
    "num_gpus": (_is_share, "an integer of 0 or more, or a share of one GPU below 1"),
    "workers": (lambda value: value is None or _is_count(value), "an integer of 1 or more, or null (as many as fit)"),
})
