"""Fast new stores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from new_stores import copied_databases


@pytest.fixture(scope="session", autouse=True)
def _fast_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with copied_databases(tmp_path_factory.mktemp("stores")):
        yield
