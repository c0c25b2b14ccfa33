"""The MLflow client and the translation of its errors."""

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
    """The tracking server is unreachable."""


class TrackingRefused(ValueError):
    """The store rejects a request."""


def client_of(uri: str) -> MlflowClient:
    """A client with short timeouts and without log output."""
    # by default an unreachable server delays a run by minutes
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_TRUNCATE_LONG_VALUES", "false")  # raise instead
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # logged errors are also raised
    if uri.startswith(SQLITE):  # MLflow does not escape the default experiment's path in SQL, unless it is a URI
        os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = Path("mlruns").absolute().as_uri()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=for_mlflow(uri))


@contextmanager
def translated_errors(uri: str) -> Generator[None]:
    """Translate exceptions of the network, MLflow and SQLAlchemy into one-line errors.

    Raises:
        TrackingUnavailable: if the server is unreachable or temporarily unavailable.
        TrackingRefused: for any other error.
    """
    from mlflow.exceptions import MlflowException
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import RetryError, Timeout
    from sqlalchemy.exc import SQLAlchemyError

    unreachable, address = (NoConnection, Timeout, RetryError), masked_address(uri)
    try:
        yield
    except unreachable as error:
        raise TrackingUnavailable(f"the tracking server {address} is unreachable") from error
    except MlflowException as error:
        if isinstance(error.__cause__ or error.__context__, unreachable) and not uri.startswith(SQLITE):
            raise TrackingUnavailable(f"the tracking server {address} is unreachable") from error
        message = re.split(r"\[SQL: |\(Background on this error", str(error))[0]  # details of SQLAlchemy
        raise TrackingRefused(f"MLflow at {address}: {masked(' '.join(message.split()))}") from error
    except SQLAlchemyError as error:  # MLflow does not translate all of them
        raise TrackingRefused(f"MLflow at {address}: {getattr(error, 'orig', None) or type(error).__name__}") from error
    except ModuleNotFoundError as error:
        raise TrackingRefused(f"MLflow at {address} needs {error.name}: pip install 'keyneurons[server]'") from error
