"""``publish`` and ``pull``: contents and use of publications, refusals, the hub."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from hub_stand_in import TOKEN, Hub, commit_id, serving
from safetensors.numpy import load_file
from user import QUICK, WORDS, Command, Place, output_folders, runs_in

import keyneurons

FILES = {
    "README.md",
    "config.yaml",
    "figures/accuracy.png",
    "figures/overlap.png",
    "key_neurons.csv",
    "key_neurons.json",
    "manifest.json",
    "metrics.json",
    "overlap_count.csv",
    "run.json",
    "sets.safetensors",
}


@dataclass(frozen=True)
class Published:
    """A run with its folder and id, the store of it, and its publication."""

    run: Path
    id: str
    store: str
    folder: Path


@pytest.fixture(scope="module")
def published(here: Command, place: Place, tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = tmp_path_factory.mktemp("published")
    ended = here(home, *place.small, "seed=3", "selection=mean_difference")
    assert ended.status == 0, ended.err
    [run], [folder] = runs_in(home), output_folders(home)
    ended = here(home, "publish", str(folder), "sets", "licence=CC0-1.0", "model_licence=MIT")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == f"published {run.info.run_name} ({run.info.run_id}) in sets\n"
    assert [path.name for path in home.iterdir() if path.name.endswith(".tmp")] == []
    return Published(folder, run.info.run_id, f"tracking.uri=sqlite:///{home}/mlruns/mlflow.db", home / "sets")


@pytest.fixture
def copy(published: Published, tmp_path: Path) -> Path:
    """A publication that a test may damage."""
    return shutil.copytree(published.folder, tmp_path / "copy")


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names(folder)}


def test_a_publication_has_the_sets_of_the_run_in_three_formats(published: Published) -> None:
    folder = published.folder
    assert names(folder) >= FILES
    assert (folder / "key_neurons.json").read_bytes() == (published.run / "key_neurons.json").read_bytes()
    file = json.loads((folder / "key_neurons.json").read_text("utf-8"))
    with (folder / "key_neurons.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    assert list(rows[0]) == ["tag", "rank", "site", "layer", "basis", "neuron", "score", "p_value"]
    tensors = load_file(folder / "sets.safetensors")
    for tag, neurons in file["tags"].items():
        own = [row for row in rows if row["tag"] == tag]
        places = [(n["layer"], n["neuron"]) for n in neurons]
        assert [(int(row["layer"]), int(row["neuron"])) for row in own] == places
        assert [float(row["score"]) for row in own] == [n["score"] for n in neurons]
        assert [int(row["rank"]) for row in own] == [*range(1, len(neurons) + 1)]
        assert [float(row["p_value"]) for row in own] == [n["p_value"] for n in neurons]
        assert [tuple(row) for row in tensors[f"neurons/{tag}"].tolist()] == places
        assert tensors[f"scores/{tag}"].tolist() == [n["score"] for n in neurons]
    assert {row["site"] for row in rows} == {"mlp"}


def test_the_manifest_has_size_and_sha256_of_every_other_file(published: Published) -> None:
    manifest = json.loads((published.folder / "manifest.json").read_text("utf-8"))
    files = content(published.folder)
    del files["manifest.json"]
    assert manifest["files"] == {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in sorted(files.items())
    }
    assert manifest["licences"] == {"sets": "CC0-1.0", "model": "MIT", "dataset": None}


def test_the_card_says_what_the_run_measured(published: Published) -> None:
    card = (published.folder / "README.md").read_text("utf-8")
    _, header, body = card.split("---\n", 2)
    assert yaml.safe_load(header) == {
        "license": "cc0-1.0",
        "pretty_name": "Key neurons of llama, mlp, layer 2, by mean_difference",
        "tags": ["keyneurons", "interpretability", "neurons", "probing"],
        "configs": [{"config_name": "default", "data_files": "key_neurons.csv"}],
    }
    metrics = json.loads((published.folder / "metrics.json").read_text("utf-8"))
    [own] = re.findall(r"^\| key neurons .*?\| ([\d.]+) \|", body, re.M)
    assert float(own) == pytest.approx(metrics["probe/test_accuracy"], abs=6e-4)
    [random] = re.findall(r"^\| matched random sets .*?\| ([\d.]+) ", body, re.M)
    assert float(random) == pytest.approx(metrics["control/random/test_accuracy"], abs=6e-4)
    for question in ("special", "beyond the word form", "grammar"):
        assert re.search(rf"^\| {question}", body, re.M), question
    commit = keyneurons.load_run(published.folder).tags["git_commit"]
    for told in (commit[:8], published.id, "CC0-1.0", "MIT", "| dataset conllu | not stated |", "seed=3"):
        assert told in body, told
    revision = json.loads((published.folder / "key_neurons.json").read_text("utf-8"))["model"]["revision"]
    assert revision in body
    assert len(re.findall(r"^# ", body, re.M)) == 1


def test_no_word_of_the_text_and_no_path_of_the_machine_is_published(published: Published, place: Place) -> None:
    words = set(WORDS["NOUN"]) - {"key"}
    for name, data in content(published.folder).items():
        text = data.decode("utf-8", errors="replace")
        for path in (str(place.folder), str(published.run.parents[2]), str(Path.home()), os.uname().nodename + " "):
            assert path not in text, (name, path)
        if not name.endswith(".png"):
            assert not words & set(re.findall(r"\w+", text)), name


def test_a_run_of_the_store_gives_the_same_publication(call: Command, published: Published) -> None:
    ended = call(
        "publish",
        published.id,
        "deep/er/sets",
        published.store,
        "licence=CC0-1.0",
        "model_licence=MIT",
        "figures=false",
    )
    assert (ended.status, ended.err) == (0, "")
    expected = content(published.folder)
    mine = content(Path("deep/er/sets"))
    assert {name for name in expected if name.startswith("figures/")} == expected.keys() - mine.keys()
    for name in mine.keys() - {"README.md", "manifest.json"}:
        assert mine[name] == expected[name], name
    card = mine["README.md"].decode()
    assert card == expected["README.md"].decode().replace("- `figures/`: figures of the run\n", "")


def test_a_folder_in_a_checkout_is_left_to_the_user_to_commit(call: Command, published: Published) -> None:
    subprocess.run(["git", "init", "-q", "checkout"], check=True)
    ended = call("publish", str(published.run), "checkout/sets/mine")
    assert ended.out.endswith(f"; commit it with: git -C {Path.cwd() / 'checkout'} add sets/mine\n")
    status = subprocess.run(["git", "-C", "checkout", "status", "--porcelain"], capture_output=True, check=True)
    assert status.stdout == b"?? sets/\n"
    assert "license" not in yaml.safe_load(Path("checkout/sets/mine/README.md").read_text("utf-8").split("---")[1])
    pulled = call("pull", "checkout/sets/mine")
    assert (pulled.status, pulled.err) == (0, "")
    assert content(Path("mine")) == content(Path("checkout/sets/mine"))


def test_the_tool_of_the_shipped_catalogue(published: Published, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location(
        "catalogue_tool", Path(__file__).parents[2] / "tools" / "catalogue.py"
    )
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    run = keyneurons.load_run(published.run)
    tool.write_catalogue([run], tmp_path)
    index = (tmp_path / "README.md").read_text("utf-8")
    accuracy, random = (f"{run.metrics[name]:.3f}" for name in ("probe/test_accuracy", "control/random/test_accuracy"))
    start = "| [mlp.2-mean_difference](mlp.2-mean_difference) | 2 | mean_difference |"
    assert f"{start} {accuracy} | {random} | " in index
    assert "keyneurons pull catalogue/mlp.2-mean_difference sets" in index
    assert names(tmp_path / "mlp.2-mean_difference") == {name for name in FILES if not name.startswith("figures")} | {
        "overlap_p_value.csv",
        "curves.json",
    }


@pytest.mark.slow
def test_a_pulled_set_goes_wherever_a_run_goes(call: Command, place: Place, published: Published) -> None:
    assert call("pull", str(published.folder), "mine").status == 0
    quick = [*place.small, *QUICK]
    ended = call(*quick, "selection=from_file", "selection.path=mine")
    assert (ended.status, ended.err) == (0, "")
    [probed] = output_folders(Path.cwd())
    probed_tags, tags = (json.loads((f / "key_neurons.json").read_text())["tags"] for f in (probed, Path("mine")))
    assert {tag: [n["neuron"] for n in own] for tag, own in probed_tags.items()} == {
        tag: [n["neuron"] for n in own] for tag, own in tags.items()
    }
    ended = call(*quick, "lesion=zero", "lesion.neurons=mine", "lesion.sets=2")
    assert (ended.status, ended.err) == (0, "")
    ended = call("compare", "mine", str(published.run))
    assert (ended.status, ended.err) == (0, "")
    ended = call("inspect", "mine", "--tag", "NOUN", f"dataset.file={place.treebank}", f"model.folder={place.llama}")
    assert (ended.status, ended.err) == (0, "")
    assert list(Path("outputs").glob("*/*-inspect/inspect_NOUN.html"))
    told = call("inspect", "mine", "--tag", "NOUN", "dataset.folder=x").error
    assert told.endswith("dataset.folder does not apply to this run: its dataset.source is conllu")
    told = call("inspect", "mine", "--tag", "NOUN").error
    assert "cannot be reloaded" in told


def test_a_pulled_set_is_a_run_in_python(call: Command, published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("pull", str(published.folder), "mine").status == 0
    mine, stored = keyneurons.load_run("mine"), keyneurons.load_run(published.id, published.store)
    assert (mine.id, mine.name, mine.status) == (stored.id, stored.name, "FINISHED")
    assert mine.metrics == stored.metrics
    assert mine.key_neurons() == stored.key_neurons()
    assert mine.params.items() >= {k: v for k, v in stored.params.items() if k.startswith(("top_k", "choice"))}.items()


def rewrite(folder: Path, name: str, change: Callable[[str], str]) -> None:
    """Change a file and its entry in the manifest."""
    path = folder / name
    path.write_text(change(path.read_text("utf-8")), "utf-8")
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    data = path.read_bytes()
    manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def relist(folder: Path, change: Callable[[dict], None]) -> None:
    """Change the manifest."""
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def digest(folder: Path) -> None:
    data = bytearray((folder / "key_neurons.json").read_bytes())
    data[-3] ^= 1
    (folder / "key_neurons.json").write_bytes(data)


def outside(folder: Path) -> None:
    relist(folder, lambda manifest: manifest["files"].update({"../evil": manifest["files"]["README.md"]}))


def link(folder: Path) -> None:
    (folder / "metrics.json").unlink()
    (folder / "metrics.json").symlink_to("/etc/hostname")


def linked_folder(folder: Path) -> None:
    shutil.rmtree(folder / "figures")
    (folder / "figures").symlink_to("/etc")


def pipe(folder: Path) -> None:
    (folder / "README.md").unlink()
    os.mkfifo(folder / "README.md")


def other_sets(folder: Path) -> None:
    rewrite(folder, "key_neurons.csv", lambda text: text.replace(",mlp,2,", ",mlp,1,", 1))


def other_run(folder: Path) -> None:
    rewrite(folder, "run.json", lambda text: re.sub(r'"neuron_sets": "\w+"', '"neuron_sets": "0123456789abcdef"', text))


DAMAGE = {
    "digest": (digest, r"key_neurons\.json of copy has SHA-256 \w{12}\.\.\., its manifest\.json says \w{12}\.\.\."),
    "size": (lambda f: (f / "README.md").write_text("x"), r"README\.md of copy has 1 bytes, its manifest\.json says"),
    "missing": (lambda f: (f / "metrics.json").unlink(), r"copy lacks metrics\.json, which its manifest\.json lists"),
    "extra": (lambda f: (f / "x.py").touch(), r"copy contains x\.py, which its manifest\.json does not list"),
    "outside": (outside, r"copy/manifest\.json does not fit this version: .*'\.\./evil' is not the name of a file"),
    "link": (link, r"copy/metrics\.json is a symbolic link; a publication contains only regular files"),
    "linked folder": (linked_folder, r"copy/figures is a symbolic link"),
    "pipe": (pipe, r"copy/README\.md is a special file"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), r"copy is not a publication: manifest\.json missing"),
    "not json": (lambda f: (f / "manifest.json").write_text("{"), r"copy/manifest\.json is damaged"),
    "version": (lambda f: relist(f, lambda m: m.update(format=2)), r"format 2 is not supported, only 1"),
    "unknown key": (lambda f: relist(f, lambda m: m.update(x=2)), r"copy/manifest\.json does not fit this version: x"),
    "sets": (other_sets, r"copy/key_neurons\.csv and key_neurons\.json differ"),
    "run": (other_run, r"copy/run\.json and key_neurons\.json are of different runs"),
    "config": (
        lambda f: rewrite(f, "config.yaml", lambda _: "- 1\n"),
        r"copy/config\.yaml is damaged: it is not a map",
    ),
    "nan": (lambda f: rewrite(f, "metrics.json", lambda _: '{"x": NaN}'), r"copy/metrics\.json is damaged"),
    "needed": (
        lambda f: (relist(f, lambda m: m["files"].pop("run.json")), (f / "run.json").unlink()),
        r"copy is not a publication: run\.json missing",
    ),
}


@pytest.mark.parametrize("kind", sorted(DAMAGE))
def test_a_damaged_publication_is_refused_in_one_line_and_nothing_is_written(
    call: Command, copy: Path, tmp_path: Path, kind: str
) -> None:
    damage, told = DAMAGE[kind]
    damage(copy)
    ended = call("pull", "copy", "new/mine")
    assert ended.status == 1
    assert re.search(f"^keyneurons: error: .*{told}", ended.error), ended.error
    assert ".tmp" not in ended.error
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


@pytest.mark.parametrize("kind", ["file", "link", "full folder", "working folder", "parent is a file", "no rights"])
@pytest.mark.parametrize("command", ["publish", "pull"])
def test_a_destination_that_cannot_be_used(
    call: Command, published: Published, tmp_path: Path, command: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = {"working folder": ".", "parent is a file": "file/x"}.get(kind, "there")
    (tmp_path / "file").touch()
    if kind == "file":
        (tmp_path / "there").touch()
    elif kind == "link":
        (tmp_path / "there").symlink_to(tmp_path / "nowhere")
    elif kind == "full folder":
        (tmp_path / "there").mkdir()
        (tmp_path / "there" / "x").touch()
    elif kind == "no rights":  # tests may run as a user with all rights
        monkeypatch.setattr(Path, "mkdir", refusing)
    before = {path.name for path in tmp_path.rglob("*")}
    ended = call(command, str(published.run if command == "publish" else published.folder), destination)
    expected = {"parent is a file": "Not a directory", "no rights": "Permission denied: "}.get(
        kind, f"{destination} exists"
    )
    assert ended.status == 1
    assert expected in ended.error
    assert ".tmp" not in ended.error
    assert {path.name for path in tmp_path.rglob("*")} == before


def refusing(self: Path, *_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied", str(self))


def test_an_empty_folder_may_be_the_destination(call: Command, published: Published) -> None:
    Path("there").mkdir()
    assert call("pull", str(published.folder), "there").status == 0
    assert names(Path("there")) == names(published.folder)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["publish", "nowhere", "x"], "there are no runs"),
        (["publish", "", "x"], "the run must be its MLflow id or its folder"),
        (["publish", ".", "x"], "contains no finished run of a single method"),
        (["publish", "RUN", "x", "top_k=3"], "publish takes licence=, model_licence=, dataset_licence=, figures=, "),
        (["publish", "RUN", "x", "licence=my own"], "a licence is an identifier"),
        (["publish", "RUN", "x", "figures=yes"], "figures must be true or false, got 'yes'"),
        (["publish", "RUN", "hf://name"], "a place is a folder or hf://datasets/OWNER/NAME"),
        (["publish", "RUN", "hf://models/owner/name"], "a place is a folder or hf://datasets/OWNER/NAME"),
        (["publish", "RUN", "https://huggingface.co/datasets/a/b"], "a place is a folder or hf://datasets/OWNER/NAME"),
        (["publish", "RUN"], "the following arguments are required: DEST"),
        (["pull", "hf://datasets/a/b/../c", "x"], "a place is a folder or hf://datasets/OWNER/NAME"),
        (["pull", "nowhere"], "nowhere is not a folder"),
        (["pull"], "the following arguments are required: SOURCE"),
    ],
)
def test_arguments_that_are_refused(
    call: Command, published: Published, tmp_path: Path, arguments: list[str], told: str
) -> None:
    ended = call(*[str(published.run) if each == "RUN" else each for each in arguments])
    assert ended.status == 1
    assert told in ended.error
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_has_not_finished_is_not_published(
    call: Command, published: Published, tmp_path: Path, place: Place
) -> None:
    run = shutil.copytree(published.run, tmp_path / "run")
    facts = json.loads((run / "run.json").read_text("utf-8"))
    (run / "run.json").write_text(json.dumps({**facts, "dataset": None}), "utf-8")
    ended = call("publish", "run", "sets")
    assert ended.error.endswith("has not finished; only finished runs can be published")
    (run / "run.json").write_text(json.dumps(facts), "utf-8")
    (run / "overlap.png").unlink()
    (run / "overlap.png").symlink_to(place.treebank)
    ended = call("publish", "run", "sets")
    assert ended.error.endswith("run/overlap.png is not a regular file")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.fixture
def hub() -> Hub:
    with serving() as hub:
        yield hub


@pytest.mark.slow
def test_a_dataset_repository_of_the_hub(command: Command, published: Published, hub: Hub, tmp_path: Path) -> None:
    variables = {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": TOKEN}
    run = str(published.run)

    def hub_command(*arguments: str, **other: str):
        return command(tmp_path / "user", *arguments, **{**variables, **other})

    for token in ("hf_wrong", ""):
        ended = hub_command("publish", run, "hf://datasets/me/sets", HF_TOKEN=token)
        assert ended.status == 1
        assert ended.error.startswith("keyneurons: error: the Hugging Face hub refuses hf://datasets/me/sets: ")
        assert "401" in ended.error
    assert hub.repos == {}
    ended = hub_command("publish", run, "hf://me/sets", "private=true", "licence=CC0-1.0", "model_licence=MIT")
    assert (ended.status, ended.err) == (0, ""), ended.err
    oid = commit_id("me/sets", 1)
    assert ended.out.endswith(f"in hf://datasets/me/sets: {hub.address}/datasets/me/sets/commit/{oid}\n")
    assert hub.created[0].get("private") is True or hub.created[0]["visibility"] == "private"
    kept = hub.repos["me/sets"][-1]
    assert {name: data for name, data in kept.items() if name != ".gitattributes"} == content(published.folder)
    assert "has files (README.md" in hub_command("publish", run, "hf://datasets/me/sets").error
    told = hub_command("publish", run, "hf://datasets/me/sets/second").error
    assert "would lie inside the publication hf://datasets/me/sets" in told
    ended = hub_command("publish", run, "hf://datasets/me/many/a/second")
    assert (ended.status, ended.err) == (0, "")
    assert hub.created[-1].get("visibility", "public") == "public"
    for source, folder in {
        f"hf://datasets/me/sets@{oid}": "sets",
        "hf://datasets/me/many/a/second": "second",
    }.items():
        ended = hub_command("pull", source)
        assert (ended.status, ended.err) == (0, ""), ended.err
        assert names(tmp_path / "user" / folder) == names(published.folder)
    hub.repos["me/many"].append({**hub.repos["me/many"][-1], "a/second/x": b""})
    assert "contains x, which its manifest" in hub_command("pull", "hf://datasets/me/many/a/second", "bad").error
    hub.repos["me/sets"].append({**hub.repos["me/sets"][-1], "metrics.json": b"{}"})
    told = hub_command("pull", "hf://datasets/me/sets", "bad").error
    assert "metrics.json of hf://datasets/me/sets has 2 bytes" in told
    assert "refuses hf://datasets/me/none: " in hub_command("pull", "hf://datasets/me/none").error
    hub.refuses_commits = True
    told = hub_command("publish", run, "hf://datasets/me/other").error
    assert "the storage of this account is full" in told
    assert sorted(path.name for path in (tmp_path / "user").iterdir()) == ["second", "sets"]


@pytest.mark.slow
def test_an_unreachable_hub(command: Command, published: Published, tmp_path: Path) -> None:
    away = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": TOKEN}
    for offline in ("0", "1"):
        for arguments in (["publish", str(published.run), "hf://me/sets"], ["pull", "hf://me/sets"]):
            ended = command(tmp_path / "user", *arguments, **away, HF_HUB_OFFLINE=offline)
            assert ended.status == 1
            assert ended.error.startswith("keyneurons: error: the Hugging Face hub refuses hf://datasets/me/sets: ")
    assert list((tmp_path / "user").iterdir()) == []
