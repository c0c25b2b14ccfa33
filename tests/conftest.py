"""Types are checked at run time, everything is offline, and nothing touches the user's cache."""

from __future__ import annotations

import os

os.environ.update(
    HF_HUB_OFFLINE="1",
    MLFLOW_DISABLE_TELEMETRY="true",
    MLFLOW_LOGGING_LEVEL="ERROR",
    OMP_WAIT_POLICY="PASSIVE",
    TOKENIZERS_PARALLELISM="false",
)

from jaxtyping import install_import_hook

install_import_hook("keyneurons", "beartype.beartype")
