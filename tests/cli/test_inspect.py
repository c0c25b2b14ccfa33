"""The page on single neurons agrees with the cache and the runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from reading_pages import Page
from safetensors.numpy import load_file, save, save_file
from user import QUICK, Command, Place, client_of, output_folders, runs_in, write_treebank

from keyneurons.activations.store import ActivationStore
from keyneurons.cli.commands import _config
from keyneurons.cli.errors import is_mistake, one_line
from keyneurons.cli.inspect import run_inspect
from keyneurons.data.conllu import read_conllu
from keyneurons.digests import texts_digest
from keyneurons.records import Sentence

EVIL = {"dog": "<b>dog</b>", "cat": "<script>alert(1)</script>", "rain": '"onmouseover="x', "key": "&lt;key"}
WIDTH = 48
METHODS = ("correlation", "random")


@dataclass(frozen=True)
class Store:
    """Runs of two methods on one treebank of markup, and one of another layer."""

    folder: Path
    cache: Path
    model: Path
    data: list[str]
    dev: tuple[Sentence, ...]
    runs: dict[str, str]
    """Ids by method, and of the other layer by ``elsewhere``."""

    def outputs(self, run: str) -> Path:
        """The run's folder under ``outputs/``."""
        found = {json.loads((each / "run.json").read_text())["run_id"]: each for each in output_folders(self.folder)}
        return found[self.runs[run]]

    def artifacts(self, run: str) -> Path:
        """The run's folder under ``mlruns/``."""
        return self.folder / "mlruns" / "artifacts" / self.runs[run] / "artifacts"

    def key(self, run: str) -> dict[str, list[dict[str, float]]]:
        return json.loads((self.outputs(run) / "key_neurons.json").read_text())["tags"]

    def activations(self, layer: int = 2, read_at: str = "word") -> np.ndarray:
        """The cached activations of the dev words."""
        [entry] = [
            each["folder"]
            for each in ActivationStore(self.cache / "activations").summaries()[0]
            if each["key"]["texts"] == texts_digest(self.dev) and each["key"]["read_at"] == read_at
        ]
        return np.load(entry / f"mlp.{layer}.npy").astype(np.float64)

    @property
    def words(self) -> list[tuple[str, str]]:
        return [(word.form, str(word.upos)) for each in self.dev for word in each.words]


def hostile_treebank(path: Path, n: int, seed: int) -> Path:
    text = write_treebank(path, n, seed).read_text(encoding="utf-8")
    for word, form in EVIL.items():
        text = text.replace(f"\t{word}\t", f"\t{form}\t").replace(f" {word} ", f" {form} ")
        text = text.replace(f" {word}\n", f" {form}\n")
    path.write_text(text.replace("# text = the ", "# text = the \u00a0 "), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def store(place: Place, here: Command, tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("<i>runs")
    files = {
        split: hostile_treebank(folder / f"{split}.conllu", n, seed)
        for seed, (split, n) in enumerate({"train": 60, "dev": 30, "test": 12}.items())
    }
    cache = folder / "cache"
    given = ["model=local", f"model.folder={place.llama}", "dataset=conllu", "dataset.id='<u>tiny</u>'"]
    given += ["dataset.drop_duplicates=false", *(f"dataset.{split}='{path}'" for split, path in files.items())]
    given += [f"cache='{cache}'", "layer=2", "top_k=3", "trainer=cpu", *QUICK]
    for asked in (*([f"selection={method}"] for method in METHODS), ["selection=correlation", "layer=1"]):
        assert here(folder, *given, *asked).status == 0
    names = [*METHODS, "elsewhere"]
    runs = {name: run.info.run_id for name, run in zip(names, runs_in(folder), strict=True)}
    return Store(folder, cache, place.llama, given, tuple(read_conllu(files["dev"]).sentences), runs)


@pytest.fixture
def inspect(
    store: Store, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Page]:
    """The page, checked for active content; written from a new folder unless ``here`` is given."""
    for name in set(os.environ) - set(environment):
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def page(run: str, *overrides: str, here: Path = store.folder, **asked: str) -> Page:
        monkeypatch.chdir(here)
        out = tmp_path / "page.html"
        path, skipped = run_inspect(
            run, tag=asked.get("tag"), neuron=asked.get("neuron"), overrides=overrides, compose=_config, out=out
        )
        assert path == out
        found = Page(out.read_text(encoding="utf-8"))
        found.skipped = skipped
        found.check_that_it_loads_and_runs_nothing()
        return found

    return page


def sections(page: Page) -> list[str]:
    return [given["id"] for tag, given in page.elements if tag == "h2"]


def table(page: Page, heads: list[str], n: int, columns: int) -> list[list[str]]:
    """Rows of the first table whose header ends with these cells."""
    start = next(i for i in range(len(page.cells)) if page.cells[i - len(heads) : i] == heads)
    return [page.cells[start + i * columns : start + (i + 1) * columns] for i in range(n)]


def test_a_tag_shows_its_key_neurons_the_strongest_first(store: Store, inspect: Callable[..., Page]) -> None:
    page = inspect(store.runs["correlation"], tag="NOUN")
    expected = [f"neuron-{each['layer']}-{each['neuron']}" for each in store.key("correlation")["NOUN"]]
    assert len(expected) == 3
    assert sections(page) == expected
    first = store.key("correlation")["NOUN"][0]
    assert f"Key neuron of NOUN, 1 of 3: score {first['score']:.4g}" in page.told
    assert "llama (" in page.told
    assert "<u>tiny</u>: 30 dev sentences" in page.told


def test_a_run_and_its_folder_show_the_same(store: Store, inspect: Callable[..., Page], tmp_path: Path) -> None:
    by_id = inspect(store.runs["correlation"], tag="VERB")
    by_folder = inspect(str(store.outputs("correlation")), tag="VERB")
    assert by_id.html == by_folder.html
    elsewhere = inspect(str(store.outputs("correlation")), tag="VERB", here=tmp_path)  # the store of the current folder
    assert store.runs["random"] in by_id.html
    assert store.runs["random"] not in elsewhere.html
    assert not (tmp_path / "mlruns").exists()


def test_words_of_markup_stay_words(store: Store, inspect: Callable[..., Page]) -> None:
    page = inspect(store.runs["correlation"], tag="NOUN")
    texts = {each.text for each in store.dev}
    assert {each.text for each in page.sentences} <= texts
    assert any("\u00a0" in each.text for each in page.sentences)
    forms = {word for each in page.sentences for word, _, _ in each.words}
    assert set(EVIL.values()) <= forms
    assert "u" not in {tag for tag, _ in page.elements}


def test_words_tell_the_cached_activations_and_the_farthest_come_first(
    store: Store, inspect: Callable[..., Page]
) -> None:
    page = inspect(store.runs["correlation"], neuron="mlp.2.7")
    values, words = store.activations()[:, 7], store.words
    told, start = {}, 0
    for each in store.dev:
        own = range(start, start + len(each.words))
        told[each.text] = [f"{words[i][1]} {values[i]:.5g}" for i in own]
        start += len(each.words)
    assert len(page.sentences) == 12 + 8
    for each in page.sentences:
        assert [word for _, _, word in each.words] == told[each.text]
    far = np.abs(values - np.median(values))
    number = np.repeat(np.arange(len(store.dev)), [len(each.words) for each in store.dev])
    by_distance = dict.fromkeys(store.dev[number[i]].text for i in np.argsort(-far, kind="stable"))
    assert [each.text for each in page.sentences[:12]] == list(by_distance)[:12]
    farthest = int(np.argmax(far))
    shown = (words[farthest][0], f"{words[farthest][1]} {values[farthest]:.5g}")
    classes = {classes for each in page.sentences for word, classes, told in each.words if (word, told) == shown}
    assert classes == {"u10" if values[farthest] > np.median(values) else "d10"}
    highest = int(np.argmax(values))
    [top] = table(page, ["tag", "word in its sentence"], 1, 4)
    assert top[:2] == [f"{values[highest]:.4g}", words[highest][1]]
    assert top[3].startswith(words[highest][0])


def test_types_and_areas_are_those_of_the_cache(store: Store, inspect: Callable[..., Page]) -> None:
    from sklearn.metrics import roc_auc_score

    page = inspect(store.runs["correlation"], neuron="mlp.2.7")
    values, words = store.activations()[:, 7], store.words
    tags = np.array([tag for _, tag in words])
    by_type: dict[tuple[str, str], list[float]] = {}
    for (form, tag), value in zip(words, values, strict=True):
        by_type.setdefault((form.lower(), tag), []).append(value)
    means = {key: float(np.mean(own)) for key, own in by_type.items() if len(own) > 1}
    form, tag = max(means, key=lambda key: means[key])
    [best] = table(page, ["words", "mean"], 1, 4)
    assert best == [form, tag, str(len(by_type[form, tag])), f"{means[form, tag]:.4g}"]
    rows = {row[0]: row for row in table(page, ["97.5 %", "others at least as good"], 4, 15)}
    folded = {}
    for name in ("DET", "NOUN", "PRON", "VERB"):
        area = roc_auc_score(tags == name, values)
        others = [roc_auc_score(tags == name, store.activations()[:, n]) for n in range(WIDTH) if n != 7]
        folded = np.maximum(
            others, 1 - np.array(others)
        )  # all 47 other neurons are used, since there are fewer than 100
        low, median, high = np.quantile(folded, [0.025, 0.5, 0.975])
        numbers = [area, max(area, 1 - area), median, low, high]
        assert rows[name][9:14] == [f"{number:.3f}" for number in numbers]
        assert rows[name][14] == str((folded >= max(area, 1 - area)).sum())
        own = values[tags == name]
        assert rows[name][1] == str(len(own))
        assert (rows[name][2], rows[name][5], rows[name][8]) == tuple(
            f"{v:.4g}" for v in (own.min(), np.median(own), own.max())
        )


def test_scores_come_from_every_run_that_scored_the_layer(store: Store, inspect: Callable[..., Page]) -> None:
    page = inspect(store.runs["random"], neuron="mlp.2.7")
    rows = table(page, ["VERB", "runs"], 2, 6)
    assert [row[0].split(" ")[0] for row in rows] == ["random", "correlation"]
    assert "(this run)" in rows[0][0]
    assert "From 2 finished runs" in page.told
    for row in rows:
        method = row[0].split(" ")[0]
        scores = load_file(store.outputs(method) / "scores.safetensors")["mlp.2"]
        order = np.argsort(-np.abs(scores), axis=1, kind="stable")
        ranks = [int(np.flatnonzero(of_tag == 7)[0]) + 1 for of_tag in order]
        assert row[1:5] == [f"{rank} {score:.4g}" for rank, score in zip(ranks, scores[:, 7], strict=True)]
        assert store.runs[method] in row[5]


def test_a_run_alone_says_so(store: Store, inspect: Callable[..., Page], tmp_path: Path) -> None:
    page = inspect(store.runs["elsewhere"], neuron="mlp.1.0")
    assert "This is the only run with the same model" in page.told
    page = inspect(
        str(store.outputs("correlation")), f"tracking.uri=sqlite:///{tmp_path}/none.db", tag="NOUN", here=tmp_path
    )
    assert "This is the only run with the same model" in page.told
    assert not (tmp_path / "none.db").exists()


def test_nothing_is_logged_and_the_page_has_a_folder_of_its_own(
    store: Store, inspect: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(runs_in(store.folder))
    inspect(store.runs["correlation"], tag="NOUN")
    monkeypatch.chdir(store.folder)
    path, _ = run_inspect(store.runs["correlation"], tag="NOUN", neuron=None, overrides=[], compose=_config, out=None)
    assert path.name == "inspect_NOUN.html"
    assert path.parent.name.endswith("-inspect")
    assert path.parts[0] == "outputs"
    assert len(runs_in(store.folder)) == before
    shutil.rmtree(path.parent)


def test_at_the_prediction_first_words_have_no_colour(
    store: Store, inspect: Callable[..., Page], call: Command, tmp_path: Path
) -> None:
    ended = call(*store.data, "read_at=prediction", "selection=welch_t")
    assert ended.status == 0, ended.err
    [folder] = output_folders(tmp_path)
    page = inspect(str(folder), tag="NOUN", here=tmp_path)
    assert "at the token before it, where the model predicts the word" in page.told
    for each in page.sentences:
        assert each.words[0][1:] == ("", "not labelled")
        assert "not labelled" not in "".join(told for _, _, told in each.words[1:])
    neuron = json.loads((folder / "key_neurons.json").read_text())["tags"]["NOUN"][0]["neuron"]
    values = store.activations(read_at="prediction")[:, neuron]
    counted = np.array([i > 0 for each in store.dev for i in range(len(each.words))])
    assert f"Activations range from {values[counted].min():.4g} to {values[counted].max():.4g}" in " ".join(
        page.told.split()
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "give one of --tag TAG and --neuron SITE.LAYER.NUMBER, got none"),
        ({"tag": "NOUN", "neuron": "mlp.2.7"}, "give one of --tag TAG and --neuron SITE.LAYER.NUMBER, got both"),
        ({"tag": "NOUNS"}, "the run has no tag 'NOUNS'; it has DET, NOUN, PRON, VERB"),
        (
            {"neuron": "mlp.2.48"},
            "must be mlp.LAYER.NUMBER with LAYER in 2 and NUMBER in 0..47, got 'mlp.2.48'",
        ),
        ({"neuron": "mlp.1.7"}, "must be mlp.LAYER.NUMBER with LAYER in 2 and NUMBER in 0..47, got 'mlp.1.7'"),
        ({"neuron": "residual.2.7"}, "with LAYER in 2 and NUMBER in 0..47, got 'residual.2.7'"),
        ({"neuron": "<b>"}, "with LAYER in 2 and NUMBER in 0..47, got '<b>'"),
        ({"neuron": "mlp.2.-1"}, "with LAYER in 2 and NUMBER in 0..47, got 'mlp.2.-1'"),
        ({"neuron": "mlp.2.\u0663"}, "with LAYER in 2 and NUMBER in 0..47, got 'mlp.2.\u0663'"),
        ({"neuron": ""}, "with LAYER in 2 and NUMBER in 0..47, got ''"),
        ({"tag": ""}, "the run has no tag ''; it has DET, NOUN, PRON, VERB"),
        ({"tag": "noun"}, "the run has no tag 'noun'; it has DET, NOUN, PRON, VERB"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(
    store: Store, inspect: Callable[..., Page], asked: dict[str, str], message: str
) -> None:
    check(lambda: inspect(store.runs["correlation"], **asked), message)


def test_what_is_no_run_is_told_in_one_line(store: Store, inspect: Callable[..., Page], tmp_path: Path) -> None:
    check(lambda: inspect("0123456789abcdef", tag="NOUN"), "has no run '0123456789abcdef'")
    check(lambda: inspect(" ", tag="NOUN"), "the run must be its MLflow id or its folder under outputs/, got ''")
    check(
        lambda: inspect(str(tmp_path), tag="NOUN"), "contains no finished run of a single method: run.json, config.yaml"
    )
    check(lambda: inspect(store.runs["correlation"], tag="NOUN", here=tmp_path), "there are no runs:")
    client = client_of(store.folder)
    begun = client.create_run(runs_in(store.folder)[0].info.experiment_id)
    check(lambda: inspect(begun.info.run_id, tag="NOUN"), "mlflow.db: its status is RUNNING")
    client.delete_run(begun.info.run_id)
    check(lambda: inspect(store.runs["correlation"], "top_k=5", tag="NOUN"), "(the run sets the rest), got top_k=5")


def test_a_treebank_that_has_changed_is_refused(
    store: Store, inspect: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    dev = store.folder / "dev.conllu"
    before = dev.read_text(encoding="utf-8")
    dev.write_text(before.replace("\tNOUN\t", "\tPROPN\t", 1), encoding="utf-8")
    try:
        check(lambda: inspect(store.runs["correlation"], tag="NOUN"), "<u>tiny</u> has changed since run")
    finally:
        dev.write_text(before, encoding="utf-8")


def test_what_is_no_longer_there_is_told_with_the_run(store: Store, inspect: Callable[..., Page]) -> None:
    run = store.runs["correlation"]
    named = f"mlp.2 k3 correlation ({run})"
    dev = store.folder / "dev.conllu"
    with taken_away(dev):
        check(lambda: inspect(run, tag="NOUN"), f"the data of run {named} cannot be reloaded: {dev}: no such file")
    with taken_away(store.model / "model.safetensors"):
        check(lambda: inspect(run, tag="NOUN"), f"the model of run {named} cannot be reloaded: ")
    with changed(store.model / "config.json", ' "', '  "'):
        check(lambda: inspect(run, tag="NOUN"), "is bound to revision ")
    with taken_away(store.artifacts("correlation") / "config.yaml"):
        check(lambda: inspect(run, tag="NOUN"), f"run {named} has no config.yaml in sqlite")
    with taken_away(store.artifacts("correlation")):
        check(lambda: inspect(run, tag="NOUN"), "mlflow.db (deleted after the run)")


def test_damaged_files_of_a_run_are_told_with_the_run(store: Store, inspect: Callable[..., Page]) -> None:
    run, folder, artifacts = store.runs["random"], store.outputs("random"), store.artifacts("random")
    named = f"of run mlp.2 k3 random ({run})"
    with changed(artifacts / "key_neurons.json", '"format": 1', '"format": 2'):
        check(lambda: inspect(run, tag="NOUN"), f"key_neurons.json {named}, written by keyneurons ")
        check(lambda: inspect(run, tag="NOUN"), "format 2 is not supported, only 1")
    with changed(artifacts / "key_neurons.json", '"p_adjusted"', '"p"'):
        check(
            lambda: inspect(run, tag="NOUN"), "does not fit this version: tags.DET.0.p: Extra inputs are not permitted"
        )
    with changed(artifacts / "config.yaml", "top_k:", "neurons:"):
        check(lambda: inspect(run, tag="NOUN"), f"config.yaml {named}, written by keyneurons ")
    with changed(folder / "run.json", "{", ""):
        check(lambda: inspect(str(folder), tag="NOUN"), "run.json is damaged: Extra data")
    scores = artifacts / "scores.safetensors"
    whole = scores.read_bytes()
    scores.write_bytes(whole[:100])
    try:
        check(lambda: inspect(run, tag="NOUN"), f"{scores} is damaged")
        page = inspect(store.runs["correlation"], tag="NOUN")  # pages of other runs skip them
        assert store.runs["random"] not in page.html
        assert len(page.skipped) == 1
        assert run in page.skipped[0]
        assert str(scores) in page.skipped[0]
    finally:
        scores.write_bytes(whole)


def test_files_that_contradict_one_another(store: Store, inspect: Callable[..., Page], tmp_path: Path) -> None:
    """Scores of other tags or another width would be assigned to the wrong neurons."""
    folder = shutil.copytree(store.outputs("correlation"), tmp_path / "run")
    path = folder / "scores.safetensors"
    whole, facts = load_file(path), {"site": "mlp", "method": "correlation"}
    tags = sorted(json.loads((folder / "key_neurons.json").read_text("utf-8"))["tags"])
    narrow = {name: np.ascontiguousarray(value[:, :-1]) for name, value in whole.items()}
    for tensors, names in ((narrow, tags), (whole, [*tags[1:], "ZZZ"]), ({"mlp.3": whole["mlp.2"]}, tags)):
        save_file(tensors, path, metadata={**facts, "tags": json.dumps(names)})
        check(
            lambda: inspect(str(folder), tag="NOUN"),
            f"{path} and key_neurons.json differ in site, basis, layers, neurons",
        )
    save_file(whole, path, metadata={**facts, "tags": json.dumps(tags)})
    assert inspect(str(folder), tag="NOUN").skipped == []
    for old, new in (
        ("top_k: 3", "top_k: 4"),
        ("scope: layer", "scope: model"),
        ("read_at: word", "read_at: prediction"),
    ):
        with changed(folder / "config.yaml", old, new):
            check(lambda: inspect(str(folder), tag="NOUN"), " in config.yaml, but ")
    with changed(folder / "key_neurons.json", '"NOUN"', '"ZZZ"'):
        check(lambda: inspect(str(folder), tag="ZZZ"), "key_neurons.json of run")


@pytest.mark.parametrize("name", ["scores.safetensors", "key_neurons.json"])
def test_no_neighbour_stops_a_page(store: Store, inspect: Callable[..., Page], name: str) -> None:
    path = store.artifacts("random") / name
    whole = path.read_bytes()
    facts = {"site": "mlp", "tags": json.dumps(["DET", "NOUN", "PRON", "VERB"])}
    for content in (b"", save({"mlp.2": np.full((4, WIDTH), np.nan, dtype="f4")}, facts), None):  # None: a folder
        path.unlink()
        path.mkdir() if content is None else path.write_bytes(content)
        try:
            page = inspect(store.runs["correlation"], tag="NOUN")
        finally:
            path.rmdir() if content is None else path.unlink()
            path.write_bytes(whole)
        assert store.runs["random"] not in page.html
        assert len(page.skipped) == 1
        assert str(path) in page.skipped[0]


@contextmanager
def taken_away(path: Path) -> Generator[None]:
    away = path.rename(path.with_name(f"{path.name}.away"))
    try:
        yield
    finally:
        away.rename(path)


@contextmanager
def changed(path: Path, old: str, new: str) -> Generator[None]:
    before = path.read_text(encoding="utf-8")
    assert old in before
    path.write_text(before.replace(old, new, 1), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")


def check(act: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=".") as caught:
        act()
    assert is_mistake(caught.value)
    assert message in one_line(caught.value)
    assert "\n" not in str(caught.value)
