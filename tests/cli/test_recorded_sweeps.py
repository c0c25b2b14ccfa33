"""Untrusted sweep records: resuming runs no foreign code and neither reads nor sends files."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from user import QUICK, Command, Place, client_of, runs_in

from keyneurons.config.overrides import check_recorded

MARK = Path("PWNED")


class Opened:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(MARK),)


def record(place: Place, *overrides: str, parent: str | None = None) -> Path:
    folder = Path("received")
    folder.mkdir(exist_ok=True)
    given = [*place.small, *QUICK, "top_k=2,3", *overrides]
    (folder / "sweep.json").write_text(json.dumps({"parent": parent, "uri": "", "overrides": given}), "utf-8")
    return folder


RUNS_CODE = [
    ["selection._target_=numpy.load", "+selection.file=x.npy", "+selection.allow_pickle=true"],
    ["selection._target_=os.mkdir", "+selection.path=PWNED"],
    ["++selection._target_=os.mkdir", "+selection.path=PWNED"],
    ["selection={_target_: os.mkdir, path: PWNED}"],
    ["+selection.of={_target_: os.mkdir, path: PWNED}"],
    ["+selection.of=[{_target_: os.mkdir, path: PWNED}]"],
    ["+selection.of={a: {_target_: os.mkdir, path: PWNED}}"],
    ["selection._target_=keyneurons.runs.provenance.subprocess.run", "+selection.args=[touch,PWNED]"],
    ["selection._target_=keyneurons.selection.methods.correlation.torch.load"],
    ["selection._target_=os.mkdir,os.mkdir", "+selection.path=PWNED"],
    ["probe.optimizer._target_=os.mkdir", "+probe.optimizer.path=PWNED"],
    ["+trainer.callbacks=[{_target_: os.mkdir, path: PWNED}]"],
    ["trainer._target_=os.mkdir"],
    ["tracking=server", "tracking.uri=http://127.0.0.1:9/steal"],
    ["tracking.uri=sqlite:///PWNED"],
]
"""Refused when the jobs are composed, and before anything of theirs is made."""

REACHES_BEYOND = [
    ["hydra.callbacks.sweep._target_=os.mkdir"],
    ["selection._target_=${oc.env:TARGET,os.mkdir}", "+selection.path=PWNED"],
    ["+x._target_=os.mkdir"],
    ["+hydra.callbacks.x={_target_: os.mkdir, path: PWNED}"],
    ["+selection@hydra.callbacks.x=correlation"],
    ["selection@_global_=correlation"],
    ["hydra/launcher=../../received/evil"],
    ["hydra.launcher._target_=os.mkdir"],
    ["hydra/launcher=submitit_slurm", "hydra.launcher.setup=[mkdir PWNED]"],
    ["hydra/launcher=submitit_slurm", "+hydra.launcher.python=mkdir PWNED"],
    ["hydra/launcher=submitit_slurm", "hydra.launcher.partition='x\nmkdir PWNED'"],
    ["hydra/launcher=submitit_slurm", "hydra.launcher.additional_parameters={wrap: mkdir PWNED}"],
    ["hydra/launcher=ray", "hydra.launcher.address=evil:1"],
    ["hydra.sweeper._target_=os.mkdir"],
    ["hydra/sweeper=basic"],
    ["hydra.sweeper.params={top_k: 1}"],
    ["hydra.sweeper.params.x=1"],
    ["hydra.sweeper.params.hydra.callbacks.sweep._target_=os.mkdir"],
    ["hydra.sweeper.params.cache='\\${oc.env:HOME},/x'"],
    ["hydra.searchpath=[file://received]", "selection=evil"],
    ["hydra.job_logging.handlers.console.class=os.mkdir"],
    ["+hydra.job_logging.handlers.x={'()': os.mkdir, path: PWNED}"],
    ["hydra/job_logging=default"],
    ["+hydra.job.env_set.LD_PRELOAD=evil.so"],
    ["hydra.output_subdir=../PWNED"],
    ["hydra.run.dir=PWNED"],
    ["selection=../../received/evil"],
    ["+experiment=../../received/evil"],
    ["+experiment=[../../received/evil]"],
    ["+dataset/../received=evil"],
    ["--config-dir=received"],
    ["-cd"],
    ["--experimental-rerun=received/x.pkl"],
    ["cache=${oc.env:HOME}"],
    ["dataset.tags=['${oc.env:HOME}']"],
]


@pytest.mark.parametrize("overrides", REACHES_BEYOND, ids=" ".join)
def test_what_a_record_must_not_change(overrides: list[str]) -> None:
    with pytest.raises(ValueError, match="^the record of the sweep has the override ") as refused:
        check_recorded(["top_k=2,3", *overrides], config_dir=None)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("overrides", [*RUNS_CODE, *REACHES_BEYOND[:2]], ids=" ".join)
def test_what_a_record_must_not_run(call: Command, place: Place, tmp_path: Path, overrides: list[str]) -> None:
    np.save("x.npy", np.array([Opened()], dtype=object), allow_pickle=True)
    ended = call("-m", f"resume={record(place, *overrides)}")
    assert ended.status == 1
    assert ended.error.startswith("keyneurons: error: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["received", "x.npy"]


def test_what_the_command_line_names_itself_is_its_own_affair(call: Command, place: Place, tmp_path: Path) -> None:
    code = "import keyneurons.selection.methods.correlation as known\ndef Mine(): return known.Correlation()\n"
    (tmp_path / "mine_of_this_test.py").write_text(code, "utf-8")
    own = "selection._target_=mine_of_this_test.Mine"
    folder = record(place, own)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        assert "give it on the command line" in call("-m", f"resume={folder}").error
        ended = call("-m", f"resume={folder}", own)
        assert (ended.status, ended.err) == (0, "")
        options = tmp_path / "options" / "selection"
        options.mkdir(parents=True)
        (options / "mine.yaml").write_text("_target_: mine_of_this_test.Mine\n", "utf-8")
        shutil.rmtree(folder)
        folder = record(place, "selection=mine")
        ended = call("--config-dir", "options", "-m", f"resume={folder}")
        assert (ended.status, ended.err) == (0, "")


def test_a_folder_of_options_is_recorded_and_given_again(call: Command, place: Place, tmp_path: Path) -> None:
    options = tmp_path / "options"
    (options / "selection").mkdir(parents=True)
    (options / "selection" / "mine.yaml").write_text("defaults: [correlation]\n", "utf-8")
    assert call("--config-dir", "options", "-m", *place.small, *QUICK, "selection=mine", "top_k=2,3").status == 0
    [folder] = tmp_path.glob("outputs/*/*-sweep")
    parent, *_ = runs_in(tmp_path)
    for which in (str(folder), parent.info.run_id):
        told = call("-m", f"resume={which}").error
        assert f"options of the folder '{options}'; if you trust this folder, add --config-dir FOLDER" in told
        ended = call("--config-dir", "options", "-m", f"resume={which}")
        assert (ended.status, ended.err) == (0, "")
        assert ended.out.startswith("resuming a sweep: 2 of 2 jobs are done\n")


def test_what_goes_on_with_a_sweep_names_its_folder_of_options(call: Command, place: Place, tmp_path: Path) -> None:
    (tmp_path / "options" / "selection").mkdir(parents=True)
    (tmp_path / "options" / "selection" / "mine.yaml").write_text("defaults: [correlation]\n", "utf-8")
    broken = tmp_path / "broken.conllu"
    broken.write_text("1\tdog\n\n", encoding="utf-8")
    given = [*place.small, *QUICK, "selection=mine", f"dataset.file={broken},{place.treebank}"]
    ended = call("--config-dir", "options", "-m", *given)
    assert ended.status == 1
    parent, *_ = runs_in(tmp_path)
    assert ended.err.strip().endswith(
        f"resume with: keyneurons --config-dir {tmp_path / 'options'} -m resume={parent.info.run_id}"
    )


@pytest.mark.parametrize(
    "overrides",
    [
        ["selection=bottom", "selection@selection.of=mutual_information", "+experiment=ewt_prototype", "~lesion"],
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.launcher.batch_size=1"],
        ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu", "hydra.launcher.mem_gb=4"],
        ["hydra.sweeper.max_batch_size=2", "layer=range(1,3)", "top_k=choice(1,2)", "selection=glob(*)"],
        [
            "experiment=layer_sweep",
            "hydra.sweeper.params.layer='2,3'",
            "hydra.sweeper.params.selection='lape,l1_probe'",
        ],
        ["dataset.file='/a b/it\\'s \\${x}.conllu'", "dataset.max_words={train: 5, dev: null, test: 5}", "cache=/x/y"],
        ["tracking.experiment=mine", "model.id=a/b", "probe.optimizer._target_=torch.optim.SGD"],
    ],
)
def test_what_sweeps_do_record_is_taken(overrides: list[str]) -> None:
    check_recorded(overrides, config_dir=None)


def test_a_store_that_others_write_names_no_folder_of_mine(call: Command, place: Place, tmp_path: Path) -> None:
    assert call("-m", *place.small, *QUICK, "top_k=2,3").status == 0
    parent, *_ = runs_in(tmp_path)
    client = client_of(tmp_path)
    (tmp_path / "private").mkdir()
    client.set_tag(parent.info.run_id, "folder", str(tmp_path / "private"))
    ended = call("-m", f"resume={parent.info.run_id}")
    assert (ended.status, ended.err) == (0, "")
    assert list((tmp_path / "private").iterdir()) == []
    client.set_tag(parent.info.run_id, "overrides", "top_k=2 'selection._target_=os.mkdir' '+selection.path=PWNED'")
    assert "names code" in call("-m", f"resume={parent.info.run_id}").error
    assert not MARK.exists()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"parent": 3, "overrides": []}', '{"parent": null, "overrides": "top_k=2"}', "\0", "[" * 9999],
)
def test_a_damaged_record_is_told(call: Command, text: str) -> None:
    Path("received").mkdir()
    Path("received", "sweep.json").write_text(text, "utf-8")
    assert "received is not the folder of a sweep: it has no readable sweep.json" in call("-m", "resume=received").error


def test_submitit_finds_no_pickles_of_others(call: Command, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from keyneurons.sweeps.resume import Interrupted, resumed_overrides

    before = Interrupted(None, ("hydra/launcher=submitit_local", "hydra.launcher.submitit_folder=x"), Path("it's"))
    first, second = (resumed_overrides(before, [], None) for _ in range(2))
    assert first[0] == "hydra/launcher=submitit_local"
    assert first[1] == "hydra.sweep.dir='it\\'s'"
    assert first[3].startswith("hydra.launcher.submitit_folder='it\\'s/.submitit/")
    assert first[3] != second[3]
