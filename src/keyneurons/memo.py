"""Results that runs in one process share."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any


class Memo:
    """Keeps what was computed, by all that it depends on; whoever holds it decides how long."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Any] = {}

    def get(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """The result kept under a key, computed if there is none yet."""
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]
