"""The command ``compare`` on a real store: selection of runs, output files, invalid arguments."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from reading_pages import Page
from user import QUICK, Command, Ended, Place, artifacts_of, client_of, runs_in

from keyneurons.artifacts.neuron_sets import read_neuron_sets
from keyneurons.build.reader import build_reader
from keyneurons.cli.commands import _config
from keyneurons.cli.compare import run_compare
from keyneurons.cli.errors import is_mistake, one_line
from keyneurons.report.figure_style import FigureOptions
from keyneurons.runs.finished import find_runs, load_run
from keyneurons.sweeps.comparison import compare_sweep
from keyneurons.tracking import Store

PARENT = "mlflow.parentRunId"
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Kept:
    """A store with five runs of one model and one of another site, and their parent's id."""

    folder: Path
    sweep: str
    runs: dict[str, str]

    @property
    def store(self) -> Store:
        return Store(f"sqlite:///{self.folder}/mlruns/mlflow.db", self.folder / "mlruns" / "artifacts", "keyneurons")


@pytest.fixture(scope="module")
def kept(here: Command, place: Place, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("compared")
    ended = here(folder, "-m", *place.small, *QUICK, "selection=correlation,random", "top_k=2,4", "site=mlp,mlp_gate")
    assert ended.status == 0, ended.err
    [parent] = [run for run in runs_in(folder) if PARENT not in run.data.tags]
    ids = {run.info.run_name: run.info.run_id for run in runs_in(folder) if PARENT in run.data.tags}
    assert len(ids) == 8
    return Kept(folder, parent.info.run_id, ids)


@pytest.fixture
def compare(kept: Kept, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process, in a copy of the store's folder."""
    folder = tmp_path / "here"
    shutil.copytree(kept.folder / "mlruns", folder / "mlruns")
    monkeypatch.chdir(folder)

    def run(*overrides: str) -> Ended:
        capsys.readouterr()
        try:
            run_compare(overrides, _config)
        except Exception as error:
            if not is_mistake(error):
                raise
            return Ended(1, *capsys.readouterr()[:1], f"{one_line(error)}\n")
        return Ended(0, *capsys.readouterr())

    return run


def written() -> Path:
    [folder] = Path("outputs").glob("*/*-compare")
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_sweep_is_compared(compare: Command, kept: Kept) -> None:
    ended = compare(f"sweep={kept.sweep}")
    assert ended.status == 0, ended.err
    assert ended.out.startswith("8 runs compared: ")
    assert "Highest accuracy, chosen on dev words" in ended.out
    assert "is partly luck" in ended.out
    folder = written()
    runs = {run.info.run_id: run for run in runs_in(kept.folder)}
    rows = rows_of(folder / "runs.csv")
    assert {row["run"] for row in rows} == set(kept.runs.values())
    for row in rows:
        run = runs[row["run"]]
        assert float(row["probe/test_accuracy"]) == run.data.metrics["probe/test_accuracy"]
        assert float(row["selection/union_fraction"]) == run.data.metrics["selection/union_fraction"]
        assert (row["choice.selection"], row["top_k"]) == (
            run.data.params["choice.selection"],
            run.data.params["top_k"],
        )
    best = json.loads((folder / "comparison.json").read_text("utf-8"))["best"][0]
    special = [run.data.metrics for run in runs.values() if run.data.metrics.get("verdict/special", 0) >= 1]
    ranked = special or [run.data.metrics for run in runs.values()]
    assert best["value"] == max(own.get("probe/test_accuracy", 0) for own in ranked)
    assert {p.name for p in (folder / "figures").iterdir()} == {
        "accuracy_by_top_k.png", "advantage_by_top_k.png", "accuracy_by_union_size.png", "agreement_1.png",
        "agreement_2.png", "consensus_1.png", "consensus_2.png",
    }  # fmt: skip
    page = Page((folder / "report.html").read_text("utf-8"))
    assert "8 runs compared" in page.told
    plain = re.sub(r"<script.*?</script>", "", page.html, flags=re.DOTALL)  # Plotly's names some addresses
    assert "http" not in plain.replace("Content-Security-Policy", "").replace('http-equiv="', "")
    logged = client_of(Path.cwd()).list_artifacts(kept.sweep, "comparison")
    assert "comparison/report.html" in {each.path for each in logged}


def test_sites_are_compared_within_themselves_and_said_to_be(compare: Command, kept: Kept) -> None:
    ended = compare(f"sweep={kept.sweep}")
    assert "Neurons of different site are not comparable" in ended.out
    assert "keyneurons compare \"filter=params.site = 'mlp'\"" in ended.out
    found = json.loads((written() / "comparison.json").read_text("utf-8"))
    assert [group["bound"]["site"] for group in found["groups"]] == ["mlp", "mlp_gate"]
    assert {row["group"] for row in rows_of(written() / "agreement.csv")} == {"llama, mlp", "llama, mlp_gate"}
    sites = {row["run"]: row["site"] for row in rows_of(written() / "runs.csv")}
    for row in rows_of(written() / "agreement.csv"):
        assert sites[row["run_a"]] == sites[row["run_b"]]


def test_agreement_is_that_of_the_files(compare: Command, kept: Kept) -> None:
    assert compare("filter=params.site = 'mlp'").status == 0
    files = {run: load_run(kept.store, run).key_neurons()["tags"] for run in kept.runs.values()}
    rows = [row for row in rows_of(written() / "agreement.csv") if row["tag"] != "mean of tags"]
    assert len(rows) == 6 * 4
    for row in rows:
        a, b = ({(n["layer"], n["neuron"]) for n in files[row[run]][row["tag"]]} for run in ("run_a", "run_b"))
        assert float(row["jaccard"]) == pytest.approx(len(a & b) / len(a | b))
        assert (int(row["size_a"]), int(row["size_b"])) == (len(a), len(b))


def test_a_run_takes_the_consensus_as_its_key_neurons(compare: Command, place: Place) -> None:
    assert compare("filter=params.site = 'mlp' and params.top_k = '4'", "share=0.5").status == 0
    path = written() / "consensus" / "key_neurons.json"
    reader = build_reader(_config([*place.small, f"cache={place.cache}"]))
    sets = read_neuron_sets(path, reader, "upos")
    agreed = [row for row in rows_of(written() / "consensus.csv") if row["in_consensus"] == "True"]
    assert {(row["tag"], int(row["layer"]), int(row["neuron"]), float(row["share"])) for row in agreed} == {
        (tag, n.layer, n.neuron, n.score) for tag in sets for n in sets.tags[tag]
    }
    with pytest.raises(ValueError, match="is bound to site mlp, this run has mlp_gate"):
        read_neuron_sets(path, build_reader(_config([*place.small, f"cache={place.cache}", "site=mlp_gate"])), "upos")


def test_a_comparison_in_the_end_of_a_sweep(kept: Kept, tmp_path: Path) -> None:
    comparison = compare_sweep(kept.store, kept.sweep, tmp_path / "comparison", FigureOptions())
    assert comparison is not None
    assert len(comparison.rows) == 8
    page = tmp_path / "comparison" / "report.html"
    assert page.is_file()
    logged = {each.path for each in client_of(kept.folder).list_artifacts(kept.sweep, "comparison")}
    assert logged >= {"comparison/report.html", "comparison/runs.csv", "comparison/figures"}
    [parent] = [run for run in runs_in(kept.folder) if run.info.run_id == kept.sweep]
    assert (artifacts_of(parent) / "comparison" / "report.html").read_text("utf-8") == page.read_text("utf-8")


def test_an_experiment_leaves_out_what_is_no_run_and_names_it(
    compare: Command, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Store, "add_folder")  # nothing goes to MLflow
    client = client_of(Path.cwd())
    first, second, *_ = kept.runs.values()
    client.set_terminated(first, status="FAILED")
    client.set_terminated(second, status="KILLED")
    ended = compare("experiment=keyneurons")
    assert ended.status == 0, ended.err
    assert "6 finished; 1 excluded (no key_neurons.json); 1 excluded (status FAILED); 1 excluded" in " ".join(
        ended.out.split()
    )
    assert "Excluded, no key_neurons.json: sweep of 8" in ended.out
    assert "Excluded runs" in Page((written() / "report.html").read_text("utf-8")).told


def test_an_experiment_that_every_run_has_alone(compare: Command) -> None:
    ended = compare("filter=params.top_k = '4' and params.`choice.selection` = 'random'")
    assert ended.status == 0, ended.err
    assert "Every group has a single run" in ended.out
    assert not (written() / "agreement.csv").exists()
    assert not (written() / "consensus").exists()


def test_runs_of_another_version_are_left_out(compare: Command, kept: Kept) -> None:
    run, *_ = kept.runs.values()
    path = Path(client_of(Path.cwd()).get_run(run).info.artifact_uri.removeprefix("file://")) / "key_neurons.json"
    before = path.read_text("utf-8")
    try:
        path.write_text(json.dumps({**json.loads(before), "format": 7}), "utf-8")
        ended = compare(f"sweep={kept.sweep}")
    finally:
        path.write_text(before, "utf-8")
    assert ended.status == 0
    assert "format 7 is not supported, only 1" in ended.out


def test_a_config_of_another_version_is_told_in_a_line(kept: Kept) -> None:
    run = load_run(kept.store, next(iter(kept.runs.values())))
    assert run.config().top_k in {2, 4}
    path = run.file("config.yaml")
    before = path.read_text("utf-8")
    try:
        path.write_text(before.replace("top_k:", "neurons:"), "utf-8")
        with pytest.raises(ValueError, match=r"written by keyneurons \S+, does not fit this version: top_k.*neurons"):
            run.config()
    finally:
        path.write_text(before, "utf-8")
    with pytest.raises(ValueError, match=r"has no nothing\.txt in sqlite"):
        run.file("nothing.txt")


WRONG: list[tuple[list[str], str]] = [
    (["sweep=" + "0" * 32], "has no run '00000000000000000000000000000000'"),
    (["sweep="], "sweep= must not be empty"),
    (["experiment=nowhere"], "has no experiment 'nowhere'; it has "),
    (["filter="], "filter= must not be empty"),
    (["filter=  "], "filter= must not be empty"),
    (["filter=top_k is 3"], "Invalid clause"),
    (["filter=params.top_k = '99'"], "no run of experiment 'keyneurons' in"),
    ([], "one of sweep=ID, experiment=NAME and filter=..., got none"),
    (["sweep=a", "experiment=b"], "got sweep, experiment"),
    (["experiment=keyneurons", "share=2"], "share must lie above 0 and be at most 1, got '2'"),
    (["experiment=keyneurons", "share=half"], "share must lie above 0 and be at most 1, got 'half'"),
    (["experiment=keyneurons", "share="], "share must lie above 0 and be at most 1, got ''"),
    (["experiment=keyneurons", "share=nan"], "share must lie above 0 and be at most 1, got 'nan'"),
    (
        ["experiment=keyneurons", "top_k=3"],
        "compare takes only experiment=, share=, transfer=true, tracking.uri= and report.*, got top_k=3",
    ),
    (["sweep=outputs/2026-01-01"], "has no run 'outputs/2026-01-01'"),
    (["sweep=\u00e9"], "has no run '\u00e9'"),
    (["sweep"], "filter=..., got 1 run"),
    (["filter=params.top_k = 3"], "Expected a quoted string value"),
    (["filter=metrics.x = 'a'"], "Expected numeric value"),
    (["experiment=keyneurons", "tracking.uri=sqlite:///nowhere.db"], "nowhere.db does not exist (tracking.uri)"),
]


@pytest.mark.parametrize(("overrides", "message"), WRONG, ids=[" ".join(given) or "none" for given, _ in WRONG])
def test_a_mistake_is_told_in_a_line(compare: Command, overrides: list[str], message: str) -> None:
    ended = compare(*overrides)
    assert ended.status == 1
    assert message in ended.error
    assert not Path("outputs").exists()


def test_a_run_that_is_no_sweep(compare: Command, kept: Kept) -> None:
    run = next(iter(kept.runs.values()))
    assert f"run {run} is not a sweep: it has no child runs in" in compare(f"sweep={run}").error


def test_no_run_with_key_neurons(compare: Command, kept: Kept) -> None:
    error = compare("filter=tags.overrides LIKE '%'").error
    assert "no run is finished and has key neurons (of 1 run; no key_neurons.json: sweep of 8" in error


def test_a_sweep_of_failures_has_no_comparison(kept: Kept, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(kept.folder / "mlruns", folder)
    store = Store(f"sqlite:///{folder}/mlflow.db", folder / "artifacts", "keyneurons")
    client = store.connect()
    for run in kept.runs.values():
        client.set_terminated(run, status="FAILED")
    assert compare_sweep(store, kept.sweep, tmp_path / "comparison", FigureOptions()) is None
    assert not (tmp_path / "comparison").exists()


def test_runs_are_found_page_by_page(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    searched: Callable[..., object] = MlflowClient.search_runs

    def few(self: MlflowClient, *arguments: object, **options: object) -> object:
        return searched(self, *arguments, **{**options, "max_results": 3})

    monkeypatch.setattr(MlflowClient, "search_runs", few)
    found = find_runs(kept.store, sweep=kept.sweep)
    assert {run.id for run in found} == set(kept.runs.values())
    assert [run.parent for run in found] == [kept.sweep] * 8
