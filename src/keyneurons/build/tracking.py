"""The MLflow store of a configuration."""

from __future__ import annotations

from keyneurons.config import outputs
from keyneurons.tracking import Store


def build_store(tracking: outputs.Tracking) -> Store:
    """The store of the runs."""
    return Store(tracking.uri, tracking.artifacts, tracking.experiment)
