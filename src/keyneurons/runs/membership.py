"""What a job knows of the sweep that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from keyneurons.records import Site


@dataclass(frozen=True)
class Membership:
    """What a job knows of the sweep that it belongs to.

    ``parent`` is its MLflow id, if the server answered; ``finished`` says by fingerprint which run or folder has been
    done before; ``together`` by what a run reads all layers of all sites that the sweep reads of it; ``swept`` the keys
    and groups that differ between its jobs.
    """

    parent: str | None
    finished: Mapping[str, str] = field(default_factory=dict)
    together: Mapping[str, Mapping[Site, tuple[int, ...]]] = field(default_factory=dict)
    swept: tuple[str, ...] = ()
