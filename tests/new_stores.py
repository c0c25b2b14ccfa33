"""New MLflow databases as copies of the first one, which saves a second of migrations each."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

if TYPE_CHECKING:
    from sqlalchemy import Engine


@contextmanager
def copied_databases(folder: Path) -> Generator[None]:
    """Let MLflow migrate the first empty database only; ``folder`` keeps a copy for the others."""
    import sqlalchemy
    from mlflow.store.db import utils

    migrate, template = utils._initialize_tables, folder / "template.db"

    def initialise(engine: Engine) -> None:
        if engine.dialect.name != "sqlite" or sqlalchemy.inspect(engine).get_table_names():
            migrate(engine)
        elif template.is_file():
            copy(template, str(engine.url.database))
        else:
            migrate(engine)
            copy(str(engine.url.database), template)

    with mock.patch.object(utils, "_initialize_tables", initialise):
        yield


def copy(source: str | Path, target: str | Path) -> None:
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
