"""The membership of a job in a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from keyneurons.records import Site


@dataclass(frozen=True)
class Membership:
    """The properties of a sweep that its jobs use.

    ``parent`` is the MLflow id of the sweep, or None if the server was unreachable. ``finished``
    maps the fingerprints of finished jobs to their run or folder. ``together`` maps activation
    fingerprints to the layers of each site that any job of the sweep reads. ``swept`` lists the
    swept keys and groups.
    """

    parent: str | None
    finished: Mapping[str, str] = field(default_factory=dict)
    together: Mapping[str, Mapping[Site, tuple[int, ...]]] = field(default_factory=dict)
    swept: tuple[str, ...] = ()
