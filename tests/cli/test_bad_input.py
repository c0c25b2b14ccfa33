"""User errors: one line with the legal values, a non-zero exit status, no RUNNING run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from user import Command, Place, runs_in

from keyneurons.cli.errors import one_line


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "selection=corelation",
            ["selection/corelation' (did you mean correlation?)", "l1_probe", "mutual_information"],
        ),
        ("top_k=abc", ["top_k", "integer", "'abc'"]),
        ("top_k=-5", ["top_k", "greater than 0", "-5"]),
        ("top_k=1.5", ["top_k", "integer"]),
        ("topk=3", ["'topk' (did you mean top_k?)", "layer"]),
        ("+topk=3", ["topk", "unknown key"]),
        ("model.foo=1", ["'model.foo'", "random_weights"]),
        ("selection.bins=3", ["'selection.bins'"]),
        ("site=mpl", ["site", "'residual', 'mlp', 'mlp_gate', 'attention' or 'mlp_in'", "'mpl'"]),
        ("layer=abc", ["layer", "all", "'abc'"]),
        ("layer=[]", ["layer", "all"]),
        ("model.device=tpu", ["model.device", "auto, cpu, cuda", "'tpu'"]),
        ("model.random_weights=true", ["model.random_weights: should be null", "or a seed, such as 0", "got True"]),
        ("model.random_weights=-1", ["model.random_weights", "greater than or equal to 0", "-1"]),
        ("model.dtype=int8", ["'auto', 'float32', 'bfloat16' or 'float16'"]),
        ("dataset.tags=NOUN", ["dataset.tags", "list"]),
        ("dataset.max_words.dev=0", ["dataset.max_words.dev", "greater than 0"]),
        ("control.random.sets=1", ["control.random: sets must be at least 2, got 1"]),
        ("control=[random,form]", ["control has no option 'form'", "word_form"]),
        ("worth.sizes=1", ["worth.sizes: should be 0 (off) or at least 2, got 1"]),
        ("control.random=3", ["control.random has keys of its own", "control.random.KEY=VALUE, got 3"]),
        ("probe.optimizer=3", ["probe.optimizer has keys of its own", "got 3"]),
        ("trainer.max_epochs=0", ["trainer.max_epochs", "greater than 0"]),
        ("model=hub", ["model.id=..."]),
        ("model=local", ["model.folder=..."]),
        ("dataset=text", ["dataset.path=..."]),
        ("tracking=server", ["tracking.uri=..."]),
        ("experiment=none", ["experiment/none", "ewt_prototype"]),
        ("threshold.alpha=2", ["threshold.alpha", "less than 1", "2"]),
        ("mass=1.5", ["mass", "less than or equal to 1", "1.5"]),
        ("threshold.kind=bonferroni", ["threshold.kind", "'none', 'fdr' or 'permutation'", "'bonferroni'"]),
        ("sign=plus", ["sign", "'both', 'positive' or 'negative'"]),
        ("threshold=fdr", ["threshold has", "kind, alpha, permutations, permute", "threshold.kind=fdr"]),
        ("reliability=false", ["reliability has", "halves, bootstraps", "reliability.halves=false"]),
        ("threshold.permute=tags", ["threshold.permute", "'words', 'within_sentence' or 'like_length'"]),
        ("split=words", ["split", "'sentences' or 'unseen_words'"]),
        ("reliability.halves=-1", ["reliability.halves", "greater than or equal to 0"]),
        ("top_k", ["'top_k'", "neither a command (plan, fetch, ", "key=value"]),
        ("bogus", ["'bogus'", "neither a command (plan, fetch, ", "key=value"]),
        ("exctract", ["'exctract'", "did you mean extract?"]),
        ("selection=[correlation]", ["selection takes the name of one option: ablation_effect, "]),
        (
            "selection=[correlation,lape]",
            ["keyneurons agreement selection=[correlation,lape]", "keyneurons -m selection=correlation,lape"],
        ),
        ("selection=correlation,lape", ["-m selection=correlation,lape", "agreement selection=[correlation,lape]"]),
        ("layer=1,2", ["layer=1,2 has several values", "keyneurons -m layer=1,2", "a list is written layer=[1,2]"]),
        ("top_k=range(2,4)", ["top_k=range(2,4) has several values", "keyneurons -m top_k=range(2,4)"]),
        ("model=[a]", ["model takes the name of one option: bert_base, ", "'model=[a]'"]),
        ("model=_base", ["model takes the name of one option: bert_base, "]),
        ("dataset={}", ["dataset takes the name of one option: conllu, "]),
        ("lesion=null", ["lesion takes the name of one option: ", "~lesion"]),
        ("hydra/launcher=[joblib]", ["hydra/launcher takes the name of one option: joblib, "]),
        ("~top_k", ["top_k", "missing"]),
        ("~dataset", ["dataset", "missing"]),
        ("top_k=true", ["top_k", "number", "True"]),
        ("cache=", ["cache", "path"]),
        ("=3", ["'=3'", "no key"]),
        ("top_k==3", ["'top_k==3'", "quoted"]),
        ("layer=[1,", ["'layer=[1,'", "closed"]),
        ("++nonsense=1", ["nonsense", "unknown key"]),
        ("hydra.nonsense=1", ["hydra.nonsense"]),
        ("a b", ["'a b'", "key=value"]),
        ("", ["''", "key=value"]),
        ("schlüssel=3", ["'schlüssel=3'"]),
        ("--bogus-flag", ["--bogus-flag", "--hydra-help"]),
        ("--config-dir", ["--config-dir", "expected one argument"]),
        ("dataset.file=[a", ["[a"]),
    ],
)
def test_what_the_configuration_refuses(call: Command, override: str, told: list[str]) -> None:
    ended = call(override)
    assert ended.status == 1
    assert ended.error.startswith("keyneurons: error: ")
    assert [part for part in told if part not in ended.error] == []
    assert ended.out == ""
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["top_k=49"], ["top_k must lie in 1..48", "49"]),
        (["scope=model", "layer=[0,1]", "top_k=97"], ["top_k must lie in 1..96"]),
        (["layer=99"], ["layer must lie in -4..3", "all", "99"]),
        (["layer=[0,-5]"], ["layer must lie in -4..3", "-5"]),
        (["model.modules={blocks: layers}"], ["model.modules lacks mlp, mlp_gate, attention"]),
        (["selection=mutual_information", "selection.bins=0"], ["selection: bins must be at least 2", "0"]),
        (["+selection.bins=3"], ["selection: ", "bins"]),
        (["+trainer.foo=3"], ["trainer: ", "foo"]),
        (["activations.devices=0"], ["activations.devices=0: "]),
        (["+trainer.devices=2"], ["trainer: a probe is trained on one device", "activations.devices"]),
        (["probe.optimizer.lr=-1"], ["probe.optimizer: ", "-1"]),
        (["probe.optimizer.lr=abc"], ["probe.optimizer: ", "str"]),
        (["selection=probeless", "threshold.kind=fdr"], ["threshold.kind=fdr needs", "threshold.kind=permutation"]),
        (
            ["threshold.kind=permutation", "threshold.permutations=18"],
            ["threshold.permutations must be at least 19 for threshold.alpha=0.05, got 18"],
        ),
        (
            ["activations.store=moments", "reliability.bootstraps=5"],
            ["activations.store=moments also needs reliability.bootstraps=0"],
        ),
        (
            ["activations.store=moments", "selection=l1_probe"],
            ["selection=l1_probe needs the values of words", "sample_words=N"],
        ),
        (["activations.store=false"], ["activations.store", "true or 'moments'", "got False"]),
        (["selection=integrated_gradients", "sample_words=9"], ["sample_words", "selection.words_per_tag"]),
        (["sample_words=0"], ["sample_words", "greater than 0"]),
        (["selection=lape", "selection.percentile=100.0"], ["selection: percentile must lie between 0 and 100", "100"]),
        (["model.bos=nothing"], ["model.bos='nothing' is not in the vocabulary"]),
        (["model.random_weights=0", "model.device_map=auto"], ["model.device_map=null"]),
        (["dataset.train=x.conllu"], ["train, dev and test", "got train, file"]),
        (["model.folder={bert}", "read_at=prediction"], ["read_at=prediction", "bert"]),
        (["model.folder=nowhere"], ["nowhere", "config.json"]),
        (["dataset.file=none.conllu"], ["none.conllu: no such file"]),
        (["selection=from_file", "selection.path=none.json"], ["'none.json' is neither a file nor a run"]),
        (["lesion=zero", "lesion.neurons=none.json"], ["'none.json' is neither a file nor a run"]),
    ],
)
def test_what_model_and_signatures_refuse_before_a_run_is_opened(
    call: Command, place: Place, overrides: list[str], told: list[str]
) -> None:
    given = [override.format(bert=place.bert) if "{bert}" in override else override for override in overrides]
    ended = call(*place.small, *given)
    assert ended.status == 1
    assert [part for part in told if part not in ended.error] == []
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(("override", "legal"), [("trainer=gpu", "auto, cpu"), ("model.device=cuda", "cpu or auto")])
def test_a_gpu_that_is_not_here_is_refused_before_a_run_is_opened(
    call: Command, place: Place, override: str, legal: str
) -> None:
    ended = call(*place.small, override)
    assert ended.status == 1
    assert legal in ended.error
    assert list(Path.cwd().iterdir()) == []


def test_a_model_folder_without_weights(call: Command, place: Place) -> None:
    folder = Path("empty")
    folder.mkdir()
    shutil.copy(place.llama / "config.json", folder)
    ended = call(*place.small, f"model.folder={folder}")
    assert ended.status == 1
    assert "has no weights in safetensors" in ended.error


def test_a_hub_model_without_a_network(call: Command, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = call(*place.data, "model=hub", "model.id=nobody/nothing")
    assert ended.status == 1
    assert "'nobody/nothing'" in ended.error
    assert "cannot be fetched" in ended.error


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["dataset.tags=[NUON,VERB]"], ["NUON", "DET, NOUN, PRON, VERB"]),
        (["dataset.tag_column=feats.Number"], ["'feats.Number'", "upos"]),
        (["dataset.file=bad.conllu"], ["bad.conllu:2: expected 10 columns"]),
        (["dataset.file=latin.conllu"], ["latin.conllu:2: not UTF-8"]),
        (["dataset=text", "dataset.path=some.txt", "dataset.stanza_folder=."], ["stanza.download('en'"]),
    ],
)
def test_what_the_data_refuse_leaves_a_failed_run_with_its_log(
    call: Command, place: Place, overrides: list[str], told: list[str]
) -> None:
    row = "\t".join(["1", "caf\u00e9", *"_" * 8])
    Path("bad.conllu").write_text("# text = dog\n1\tdog\tdog\tNOUN\t_\n\n", encoding="utf-8")
    Path("latin.conllu").write_text(f"# text = x\n{row}\n\n", encoding="latin-1")
    Path("some.txt").write_text("The dog runs.\n", encoding="utf-8")
    given = place.small
    if overrides[0].startswith("dataset="):
        given = [override for override in given if not override.startswith("dataset")]
    ended = call(*given, *overrides)
    assert ended.status == 1
    assert [part for part in told if part not in ended.error] == []
    assert ended.out == ""
    [run] = runs_in(Path.cwd())
    assert run.info.status == "FAILED"
    assert "Traceback" in Path(run.info.artifact_uri.removeprefix("file://"), "keyneurons.log").read_text("utf-8")


@pytest.mark.parametrize(
    "uri", ["mlruns", "file:///tmp/mlruns", "ftp://127.0.0.1/runs", "sqlite://relative.db", "127.0.0.1:5000"]
)
def test_a_tracking_address_that_mlflow_does_not_take(call: Command, place: Place, uri: str) -> None:
    ended = call(*place.small, f"tracking.uri='{uri}'")
    assert ended.status == 1
    assert "tracking.uri must be sqlite:///ABSOLUTE_PATH or the address of a server" in ended.error
    assert uri in ended.error


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["cache", "prune"], ["--older-than"]),
        (["cache", "burn"], ["'list', 'prune'"]),
        (["fetch", "model=loca"], ["model/loca", "local", "smollm2_135m"]),
        (["fetch", "model.foo=3"], ["'model.foo'", "bos"]),
        (["log"], ["folder"]),
        (["inspect"], ["required: run (usage"]),
        (["inspect", "x", "--tag", "NOUN", "tracking.uri=sqlite:///x.db"], ["x.db does not exist"]),
        (["plan", "--bogus"], ["--bogus"]),
        (["log", "."], ["contains no finished run", "metrics.json"]),
        (["ui", "--port", "x"], ["--port", "1 to 65535", "'x'"]),
        (["ui", "--port", "0"], ["--port", "1 to 65535"]),
        (["ui", "--port", "70000"], ["--port", "1 to 65535"]),
        (["ui", "--port", "-1"], ["--port"]),
        (["layer=2", "plan"], ["plan is a command", "must come first"]),
        (["agreement"], ["overrides"]),
        (["agreement", "layer=2"], ["selection=[correlation,l1_probe,...]", "none"]),
        (["agreement", "selection=[correlation]"], ["at least two distinct methods", "correlation"]),
        (["agreement", "selection=[lape,lape]"], ["at least two distinct methods"]),
        (["agreement", "selection=[correlation,foo]"], ["selection/foo", "correlation"]),
        (["ui", "tracking.foo=1"], ["'tracking.foo'", "uri"]),
    ],
)
def test_mistakes_in_the_other_commands(call: Command, arguments: list[str], told: list[str]) -> None:
    ended = call(*arguments)
    assert ended.status == 1
    assert [part for part in told if part not in ended.error] == []


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["top_k=3,-5"], "greater than 0"),
        (["top_k=3,49"], "1..48"),
        (["layer=1,99"], "-4..3"),
        (["selection=correlation,foo"], "mutual_information"),
        (["topk=3,4"], "'topk'"),
        (["selection=mutual_information", "selection.bins=8,0"], "at least 2"),
        (["dataset.file=null,x.conllu"], "none of them"),
    ],
)
def test_an_illegal_value_refuses_a_whole_sweep_before_it_starts(
    call: Command, place: Place, overrides: list[str], told: str
) -> None:
    ended = call("-m", *place.small, *overrides)
    assert ended.status == 1
    assert told in ended.error
    assert ended.out == ""
    assert not Path("mlruns").exists()


def test_the_script_itself_tells_a_mistake_in_one_line(command: Command, tmp_path: Path) -> None:
    ended = command(tmp_path, "top_k=-5")
    assert ended.status == 1
    assert ended.error == "keyneurons: error: top_k: should be greater than 0, got -5"


def test_a_message_of_several_lines_becomes_one() -> None:
    assert one_line(ValueError("first\n  second\t third\n")) == "first second third"
    assert one_line(KeyError("plain, not quoted")) == "plain, not quoted"
