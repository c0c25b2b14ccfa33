"""The command ``claims`` on a real sweep."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

from user import Command, Place, runs_in


def changed(path: Path, key: str, value: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), key: value}), "utf-8")


def test_claims_of_a_sweep(call: Command, place: Place, tmp_path: Path) -> None:
    small = [override for override in place.small if not override.startswith("layer")]
    ended = call("experiment=claims", *small, "hydra.sweeper.params.layer='2'")
    assert ended.status == 0, ended.err
    [parent] = [run for run in runs_in(Path.cwd()) if "mlflow.parentRunId" not in run.data.tags]
    done = call("claims", parent.info.run_id)
    assert done.status == 0, done.err
    assert done.out.count("cannot be told: ") >= 5
    [folder] = (tmp_path / "outputs").glob("*/*-claims")
    assert sorted(path.name for path in folder.iterdir()) == ["claims.csv", "claims.html", "claims.md"]
    with (folder / "claims.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    runs = sorted(path.parent for path in (tmp_path / "outputs").glob("*/*-sweep/*/run.json"))
    shares = [json.loads((each / "metrics.json").read_text("utf-8"))["selection/union_fraction"] for each in runs]
    assert len(shares) == 1
    assert rows[0]["measured"].startswith(f"{shares[0]:.1%} of ")

    again = call("claims", *map(str, runs))  # the same runs, by their folders
    assert (again.status, again.out.splitlines()[:-1]) == (0, done.out.splitlines()[:-1])

    for arguments, words in [
        (["claims", "layer=3"], ["claims takes only runs", "layer=3"]),
        (["claims", "tracking.uri=sqlite:///none.db"], ["got none"]),
        (["claims", "0" * 32], ["0" * 32]),
        (["claims", "."], ["contains no finished run"]),
    ]:
        ended = call(*arguments)
        assert ended.status == 1
        assert all(word in ended.error for word in words), ended.error

    other = shutil.copytree(runs[0], tmp_path / "other")
    changed(other / "key_neurons.json", "dataset", {"id": "another treebank", "digest": "0"})
    changed(other / "run.json", "run_id", "f" * 32)
    (other / "mlflow_run.json").unlink(missing_ok=True)
    ended = call("claims", str(runs[0]), str(other))
    assert ended.status == 1
    assert "claims takes runs of one treebank, got another treebank, " in ended.error
