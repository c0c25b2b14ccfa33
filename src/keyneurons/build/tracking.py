"""The store of the runs."""

from __future__ import annotations

from keyneurons.config import schema
from keyneurons.tracking import Store


def build_store(tracking: schema.Tracking) -> Store:
    """Where the runs go."""
    return Store(tracking.uri, tracking.artifacts, tracking.experiment)
