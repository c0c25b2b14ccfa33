"""The probe of a run as an MLflow model: ``model/`` in its folder, and a logged model in the store.

The model has data files only. Its code is ``keyneurons.runs.tagger``, which MLflow imports.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, Any

from keyneurons.artifacts.basis import BASIS_FILE
from keyneurons.artifacts.key_neurons import KEY_NEURONS_FILE
from keyneurons.artifacts.plain import read_yaml, write_yaml
from keyneurons.artifacts.probe import PROBE_FILE
from keyneurons.atomic_files import write_json, write_text
from keyneurons.metrics import ACCURACY, DEV_ACCURACY, MACRO_F1
from keyneurons.version import __version__

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

MODEL_FOLDER = "model"
LOADER = "keyneurons.runs.tagger"
DATA = "run"
EXAMPLE = {"columns": ["text"], "data": [["The dog that she saw runs home."]]}
EXAMPLE_FILES = {
    "artifact_path": "input_example.json",
    "serving_input_path": "serving_input_example.json",
    "type": "dataframe",
    "pandas_orient": "split",
}
SHOWN = (ACCURACY, MACRO_F1, DEV_ACCURACY)
"""Metrics of the run that are shown with the model."""


def write_model(folder: Path) -> None:
    """Write the probe in a run's folder as an MLflow model; a run without a probe has no model.

    The files are those of ``mlflow.pyfunc.save_model``, which would also compare the requirements
    with all installed packages: that takes a second.
    """
    if not (folder / PROBE_FILE).is_file():
        return
    from mlflow import pyfunc
    from mlflow.models import Model

    path = folder / MODEL_FOLDER
    shutil.rmtree(path, ignore_errors=True)
    (path / DATA).mkdir(parents=True)
    for name in (KEY_NEURONS_FILE, PROBE_FILE, BASIS_FILE):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, path / DATA / name)
    write_text(path / DATA / "config.yaml", write_yaml(_with_absolute_model(read_yaml(folder / "config.yaml"))))
    write_text(path / "requirements.txt", f"keyneurons=={__version__}\n")
    write_text(path / "python_env.yaml", f"python: {python_version()}\ndependencies:\n- -r requirements.txt\n")
    write_json(path / "input_example.json", EXAMPLE)
    write_json(path / "serving_input_example.json", {"dataframe_split": EXAMPLE})
    model = Model(signature=_signature(), saved_input_example_info=EXAMPLE_FILES)
    pyfunc.add_to_model(model, loader_module=LOADER, data=DATA, python_env="python_env.yaml")
    model.save(str(path / "MLmodel"))


def send_model(client: MlflowClient, run_id: str, folder: Path, metrics: Mapping[str, float]) -> None:
    """Log the model in a run's folder, if any, as a logged model of the run."""
    from mlflow.entities import LoggedModelOutput, Metric

    path = folder / MODEL_FOLDER
    if not (path / "MLmodel").is_file():
        return
    experiment = client.get_run(run_id).info.experiment_id
    model = client.create_logged_model(experiment, "probe", source_run_id=run_id, model_type="probe")
    try:
        client.log_model_artifacts(model.model_id, str(path))
        client.finalize_logged_model(model.model_id, "READY")
    except BaseException:
        with suppress(Exception):  # the store may be full or unreachable
            client.finalize_logged_model(model.model_id, "FAILED")
        raise
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    now = int(time.time() * 1000)
    shown = [Metric(name, metrics[name], now, 0, model_id=model.model_id) for name in SHOWN if name in metrics]
    client.log_batch(run_id, metrics=shown)


def _with_absolute_model(config: Any) -> Any:
    """A configuration whose model is found from any folder."""
    model = config["model"]
    if "folder" in model:
        model["folder"] = str(Path(model["folder"]).expanduser().absolute())
    return config


def _signature() -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Schema

    texts, numbers = Array(DataType.string), Array(DataType.double)
    inputs = Schema([ColSpec(DataType.string, "text", required=False), ColSpec(texts, "words", required=False)])
    outputs = Schema([ColSpec(texts, "words"), ColSpec(texts, "tags"), ColSpec(numbers, "probabilities")])
    return ModelSignature(inputs, outputs)
