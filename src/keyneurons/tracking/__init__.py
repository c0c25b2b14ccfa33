"""The interface to MLflow: the store, runs, sweeps, and sending of finished runs."""

from keyneurons.metric_names import metric_name
from keyneurons.tracking.children import log_child
from keyneurons.tracking.client import TrackingRefused, TrackingUnavailable
from keyneurons.tracking.model import write_model
from keyneurons.tracking.page import app_name
from keyneurons.tracking.run import OpenRun, open_run
from keyneurons.tracking.sending import log_folder, params_of
from keyneurons.tracking.store import Store
from keyneurons.tracking.sweeps import close_children, close_parent, describe, log_best, log_swept, reopen
from keyneurons.tracking.view import view_address

__all__ = [
    "OpenRun",
    "Store",
    "TrackingRefused",
    "TrackingUnavailable",
    "app_name",
    "close_children",
    "close_parent",
    "describe",
    "log_best",
    "log_child",
    "log_folder",
    "log_swept",
    "metric_name",
    "open_run",
    "params_of",
    "reopen",
    "view_address",
    "write_model",
]
