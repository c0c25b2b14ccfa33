"""A client of MLflow, and what its errors mean."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from keyneurons.addresses import SQLITE, for_mlflow, masked, masked_address

if TYPE_CHECKING:
    from mlflow import MlflowClient


class TrackingUnavailable(ConnectionError):
    """The tracking server does not answer."""


class TrackingRefused(ValueError):
    """The store is there and does not take what it is given."""


def client_of(uri: str) -> MlflowClient:
    """A client that gives up early on a server that is away, and keeps quiet."""
    # short of these a server that is away holds up a run for minutes
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_TRUNCATE_LONG_VALUES", "false")  # refused, not cut
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what they log as an error they also raise
    if uri.startswith(SQLITE):  # MLflow puts the path of its default experiment into SQL as it is, unless it is a URI
        os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = Path("mlruns").absolute().as_uri()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=for_mlflow(uri))


@contextmanager
def reaching(uri: str) -> Generator[None]:
    """Turn what the network and MLflow raise into one plain error of ours.

    Raises:
        TrackingUnavailable: the server does not answer, or says itself that it cannot.
        TrackingRefused: any other trouble.
    """
    from mlflow.exceptions import MlflowException
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import RetryError, Timeout
    from sqlalchemy.exc import SQLAlchemyError

    away, where = (NoConnection, Timeout, RetryError), masked_address(uri)
    try:
        yield
    except away as error:
        raise TrackingUnavailable(f"the tracking server {where} does not answer") from error
    except MlflowException as error:
        if isinstance(error.__cause__ or error.__context__, away) and not uri.startswith(SQLITE):
            raise TrackingUnavailable(f"the tracking server {where} does not answer") from error
        told = re.split(r"\[SQL: |\(Background on this error", str(error))[0]  # of SQLAlchemy
        raise TrackingRefused(f"MLflow at {where}: {masked(' '.join(told.split()))}") from error
    except SQLAlchemyError as error:  # which MLflow does not always translate
        raise TrackingRefused(f"MLflow at {where}: {getattr(error, 'orig', None) or type(error).__name__}") from error
    except ModuleNotFoundError as error:
        raise TrackingRefused(f"MLflow at {where} needs {error.name}: pip install 'keyneurons[server]'") from error
