"""The command ``explore``: runs it loads, with the scores they have recorded, or refuses."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from models import save_tiny_model
from safetensors.torch import load_file
from user import QUICK, Command, Place, client_of, output_folders, runs_in

from keyneurons.cli.commands import _config
from keyneurons.explore.loading import LoadedRun, load_runs

PORT = "--port=7999"


@dataclass(frozen=True)
class Runs:
    """Folder with a run of each kind under ``outputs/``."""

    folder: Path
    outputs: dict[str, Path]
    ids: dict[str, str]


@pytest.fixture(scope="module")
def runs(place: Place, here: Command, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("explored")
    other = save_tiny_model(folder / "other", seed=3)
    controls = "control=[random,all_neurons]"
    kinds = {
        "one": [*place.whole, *QUICK, controls],
        "two": [*place.whole, *QUICK, "layer=[1,2]", "selection=random", "read_at=prediction"],
        "moments": [*place.whole, *QUICK, "activations.store=moments"],
        "other": [*place.whole, *QUICK, f"model.folder={other}"],
    }
    for arguments in kinds.values():
        ended = here(folder, *arguments)
        assert ended.status == 0, ended.err
    outputs = dict(zip(kinds, output_folders(folder), strict=True))
    given = [*place.whole, *QUICK, "selection=from_file", f"selection.path={outputs['one']}"]
    assert here(folder, *given).status == 0
    names = [*kinds, "given"]
    outputs = dict(zip(names, output_folders(folder), strict=True))
    return Runs(folder, outputs, dict(zip(names, (run.info.run_id for run in runs_in(folder)), strict=True)))


def loaded(runs: Runs, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, *names: str) -> list[LoadedRun]:
    monkeypatch.chdir(runs.folder)
    monkeypatch.setenv("KEYNEURONS_CACHE", environment["KEYNEURONS_CACHE"])
    return list(load_runs([str(runs.outputs[name]) for name in names], [], _config))


def test_the_probes_score_as_the_run_has_recorded(runs, environment, monkeypatch):
    [run] = loaded(runs, environment, monkeypatch, "one")
    metrics = json.loads((runs.outputs["one"] / "metrics.json").read_text())
    key, random, every = run.probes
    assert [each.name for each in run.probes] == ["key neurons", "random neurons", "all neurons"]
    assert key.accuracy == pytest.approx(metrics["probe/test_accuracy"])
    assert every.accuracy == pytest.approx(metrics["control/all_neurons/test_accuracy"])
    assert len(every.probe.columns) == 48
    assert len(random.probe.columns) == len(key.probe.columns) == metrics["selection/union_size"]
    kept = load_file(runs.outputs["one"] / "probe.safetensors")
    for name in ("weight", "bias", "mean", "std"):
        assert getattr(key.probe, name).equal(kept[name])


def test_several_runs_share_the_model(runs, environment, monkeypatch):
    one, two, given, moments = loaded(runs, environment, monkeypatch, "one", "two", "given", "moments")
    assert one.read.model is two.read.model is given.read.model is moments.read.model
    assert (one.read.layers, two.read.layers, two.read.read_at) == ((2,), (1, 2), "prediction")
    assert {tag: own[:1] for tag, own in given.sets.tags.items()} == {
        tag: own[:1] for tag, own in one.sets.tags.items()
    }
    assert [each.name for each in moments.probes] == ["key neurons", "random neurons"]  # not all neurons are stored
    np.testing.assert_array_equal(moments.activations[2], one.activations[2])
    assert [run.method for run in (one, two)] == ["correlation", "random"]


def test_runs_that_cannot_be_explored(runs, call, monkeypatch):
    monkeypatch.chdir(runs.folder)
    without = shutil.copytree(runs.outputs["one"], runs.folder / "without")
    (without / "probe.safetensors").unlink()
    damaged = shutil.copytree(runs.outputs["one"], runs.folder / "damaged")
    (damaged / "probe.safetensors").write_bytes(b"x" * 100)
    exchanged = shutil.copytree(runs.outputs["one"], runs.folder / "exchanged")
    shutil.copy(runs.outputs["two"] / "probe.safetensors", exchanged)
    client = client_of(runs.folder)
    [experiment] = [e for e in client.search_experiments() if e.name != "Default"][:1]
    parent = client.create_run(experiment.experiment_id, run_name="a sweep").info.run_id
    client.set_terminated(parent)
    one = str(runs.outputs["one"])
    for arguments, told in [
        ([str(without)], "probe.safetensors missing"),
        ([str(damaged)], "probe.safetensors is damaged"),
        ([str(exchanged)], "probe.safetensors"),
        ([one, str(runs.outputs["other"])], "explore needs runs of one model; model is llama in run "),
        ([parent], f"run a sweep ({parent}) has no key_neurons.json"),
        (["nowhere"], "has no run 'nowhere'"),
        (["outputs"], "outputs contains no finished run"),
        ([one, "top_k=3"], "overrides must be of tracking., cache=, model.device="),
        (["top_k=3"], "give at least one run"),
    ]:
        ended = call("explore", *arguments, "--no-browser", PORT)
        assert ended.status == 1
        assert told in ended.error, arguments


def test_gradio_is_optional(runs, call, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    ended = call("explore", str(runs.outputs["one"]), "--no-browser", PORT)
    assert ended.error == "keyneurons: error: explore needs Gradio: pip install 'keyneurons[explore]'"


def test_a_port_in_use(call):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = call("explore", "x", "--no-browser", f"--port={taken.getsockname()[1]}")
    assert "cannot be opened (Address already in use); choose another with --port" in ended.error
