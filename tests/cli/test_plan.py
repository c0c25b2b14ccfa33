"""The command ``plan``, compared with the actual run."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch
from models import save_tiny_model
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count
from user import Command, Place

from keyneurons.activations.capture import capture
from keyneurons.activations.extract import make_batch, plan_batches
from keyneurons.build.dataset import build_dataset
from keyneurons.build.reader import build_reader
from keyneurons.cli.commands import _config as configured
from keyneurons.config.schema import Config
from keyneurons.plan import make_plan
from keyneurons.plan.machine import Machine
from keyneurons.plan.report import Need, Plan
from keyneurons.plan.speed import Speed
from keyneurons.plan.text import EWT_SIZES, TOKENS_PER_WORD
from keyneurons.records import SPLITS, Split

LLAMA_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "dtype": "bfloat16",
}
AMPLE = Machine(disk=10**15, memory=10**15, gpus=())


@pytest.fixture
def config_of(place: Place, tmp_path: Path) -> Callable[..., Config]:
    def make(*overrides: str, model: Path | None = None) -> Config:
        own = [
            "model=local",
            f"model.folder={model or place.llama}",
            "layer=2",
            "top_k=3",
            f"cache={tmp_path / 'cache'}",
        ]
        return configured([*own, *place.data, *overrides])

    return make


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disables the calibration, which is slow for large models."""
    from keyneurons import plan

    monkeypatch.setattr(plan, "measure", lambda *_: Speed(None, "not measured"))
    monkeypatch.setattr(plan, "work_after_passes", lambda *_, **__: ())


def config_alone(folder: Path, **changes: object) -> Path:
    """A folder that contains only the config of Llama 3 8B."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**LLAMA_8B, **changes}), encoding="utf-8")
    return folder


def need(plan: Plan, what: str) -> Need:
    return next(each for each in plan.needs if each.name == what)


def here(machine: Machine) -> mock._patch:
    return mock.patch.object(Machine, "current", return_value=machine)


@pytest.mark.parametrize(
    "overrides",
    [["layer=2"], ["site=residual", "layer=all", "activations.dtype=float32"], ["site=attention", "layer=[0,3]"]],
)
def test_the_cache_takes_what_was_planned(
    config_of: Callable[..., Config], untimed: None, overrides: list[str]
) -> None:
    config = config_of(*overrides)
    plan = make_plan(config)
    read, treebank = build_reader(config), build_dataset(config.dataset, config.cache, config.seed).load()
    for split in plan.splits:
        encoded = read.encode(treebank.splits[split.name])
        assert split.tokens == sum(len(e.ids) for e in encoded)
        assert split.words == treebank.n_words(split.name)
        before = sum(path.stat().st_size for path in config.cache.rglob("*.npy"))
        read(treebank.splits[split.name], split.name)
        arrays = sum(path.stat().st_size for path in config.cache.rglob("*.npy")) - before
        assert split.cache_bytes == arrays + 1000 * len(read.layers)
    beside = sum(path.stat().st_size for path in (config.cache / "activations").rglob("*.json"))
    assert 0 < beside <= 1000 * len(read.layers) * len(SPLITS)
    again = make_plan(config)
    assert (again.cache_bytes, again.flops) == (0, 0)
    assert f"cache: {3 * len(read.layers)} of {3 * len(read.layers)} arrays are cached" in again.facts


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma2", "gpt2", "gpt_neox", "bert"])
def test_operations_are_those_that_torch_counts(
    config_of: Callable[..., Config], untimed: None, tmp_path: Path, kind: str
) -> None:
    folder = save_tiny_model(tmp_path / kind, kind)
    for site in ("residual", "mlp", "mlp_gate", "attention", "mlp_in"):
        config = config_of(f"site={site}", "layer=1", model=folder)
        assert make_plan(config).splits[1].flops == counted_by_torch(config, "dev") > 0


def counted_by_torch(config: Config, split: Split) -> int:
    """Operations of the forward passes over a split, counted by torch."""
    read = build_reader(config)
    encoded = read.encode(build_dataset(config.dataset, config.cache, config.seed).load().splits[split])
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # not counted by torch

    def of_fused(query: tuple, key: tuple, value: tuple, *_: object, **__: object) -> int:
        return int(sdpa_flop_count(query, key, value))

    with (
        FlopCounterMode(display=False, custom_mapping={fused: of_fused}) as counted,
        capture(read.model.network, read.model.family, {read.site: read.layers}) as reading,
    ):
        for chosen in plan_batches([len(e.ids) for e in encoded], read.batch_tokens):
            batch = make_batch([encoded[i] for i in chosen], [0] * len(chosen), pad_left=False)
            reading(batch.inputs(torch.device("cpu"), causal=read.model.family.causal), lambda hidden: None)
    return int(counted.get_total_flops())


def test_a_plan_needs_no_weights_and_no_tokenizer(
    config_of: Callable[..., Config], place: Place, untimed: None, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(place.llama / "config.json", bare)
    whole, alone = make_plan(config_of()), make_plan(config_of(model=bare))
    assert alone.facts[0] == f"{whole.facts[0]}; no local weights; no local tokenizer"
    assert [need.name for need in alone.needs] == [need.name for need in whole.needs]
    assert alone.cache_bytes == whole.cache_bytes
    assert alone.facts[1].endswith(f"estimated at {TOKENS_PER_WORD} per word (no local tokenizer)")
    for split in alone.splits:
        assert split.tokens == pytest.approx(TOKENS_PER_WORD * split.words + split.sentences, rel=0.06)


def test_a_large_model_takes_seconds_and_no_memory(
    config_of: Callable[..., Config], untimed: None, tmp_path: Path
) -> None:
    folder = config_alone(tmp_path / "llama3_8b")
    with here(AMPLE):
        plan = make_plan(config_of("layer=all", model=folder))
        on_gpu = make_plan(config_of("layer=all", "model.device=cuda", model=folder))
        assert make_plan(config_of("layer=all", "trainer=gpu", model=folder)).needs == on_gpu.needs
    assert "32 of 32 blocks run; 7.505 billion parameters" in plan.facts[0]
    assert "30.02 GB of weights in float32" in plan.facts[0]
    assert "15.01 GB of weights in bfloat16" in on_gpu.facts[0]  # the dtype of the checkpoint on a GPU
    words = sum(split.words for split in plan.splits)
    assert plan.cache_bytes == pytest.approx(words * 14336 * 32 * 2, rel=1e-3)
    per_token = 2 * (7_504_924_672 - 128256 * 4096)  # Kaplan et al. 2020: two operations per parameter
    # the last block ends before its down projection
    assert plan.flops / sum(split.padded for split in plan.splits) == pytest.approx(per_token, rel=0.02)
    assert all(each.fits for each in plan.needs)
    assert need(on_gpu, "GPU memory for extraction").available is None
    assert not need(on_gpu, "GPU memory for extraction").fits
    assert need(on_gpu, "memory for extraction").needed > 15e9  # transformers loads before it moves


@pytest.mark.parametrize("overrides", [["trainer=gpu"], ["model.device=cuda"], ["model.device=cpu", "trainer=gpu"]])
def test_a_gpu_that_is_not_here_is_planned_for_without_times(
    config_of: Callable[..., Config], overrides: list[str]
) -> None:
    with here(AMPLE), mock.patch("torch.cuda.is_available", return_value=False):
        plan = make_plan(config_of(*overrides))
    scoring, probes = plan.stages
    assert scoring.endswith("; time not measured")
    assert "; time not measured; results in the cache" in probes


def test_what_does_not_fit_comes_with_ways_that_the_configuration_takes(
    config_of: Callable[..., Config], untimed: None, tmp_path: Path
) -> None:
    folder = config_alone(tmp_path / "llama3_8b")
    small = Machine(disk=10**8, memory=8 * 10**9, gpus=(6 * 10**9,))
    with here(small):
        plan = make_plan(config_of("layer=all", "activations.dtype=float32", model=folder))
        disk, memory, probes = (
            need(plan, name) for name in ("disk for the cache", "memory for extraction", "memory for probes")
        )
        told = "\n".join((*disk.remedies, *memory.remedies, *probes.remedies))
        for way in (
            "activations.dtype=float16",
            "activations.store=moments: two passes, sums and single neurons in the cache",
            "model.dtype=bfloat16",
            "model.device=cuda",
        ):
            assert way in told
        fewer = next(way for way in disk.remedies if way.startswith("fewer layers")).rpartition(" ")[2]
        assert need(make_plan(config_of(fewer, "activations.dtype=float32", model=folder)), "disk for the cache").fits
        half = make_plan(config_of("layer=all", "activations.dtype=float16", model=folder))
        assert need(half, "disk for the cache").needed == pytest.approx(disk.needed / 2, rel=1e-3)
        without = make_plan(config_of("layer=all", "activations.store=moments", model=folder))
    assert without.cache_bytes == 0
    assert [split.times for split in without.splits] == [2, 1, 1]
    with here(replace(small, disk=10**6)):
        other = make_plan(config_of("selection=l1_probe", "layer=all", model=folder))
    assert not any(
        "store=moments" in way for way in need(other, "disk for the cache").remedies
    )  # it needs all words at once
    assert need(other, "memory for scoring").at_least


def test_text_that_is_not_here_is_taken_by_its_size(
    config_of: Callable[..., Config], place: Place, untimed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline = mock.Mock(side_effect=ValueError("no network"))
    monkeypatch.setattr("keyneurons.data.ud.UniversalDependencies._download", offline)
    local = ["model=local", f"model.folder={place.llama}", f"cache={tmp_path / 'cache'}", "layer=2", "top_k=3"]
    plan = make_plan(configured([*local, "dataset=ud_english_ewt", "dataset.max_sentences.dev=100"]))
    assert [(s.sentences, s.words) for s in plan.splits if s.name != "dev"] == [EWT_SIZES["train"], EWT_SIZES["test"]]
    assert plan.splits[1].sentences == 100
    assert "which is not local" in plan.facts[1]
    french = make_plan(configured([*local, "dataset=ud", "dataset.treebank=UD_French-GSD"]))
    assert sum(split.sentences for split in french.splits) == pytest.approx(16342, abs=2)
    assert sum(split.words for split in french.splits) == pytest.approx(400306, abs=2)
    text = tmp_path / "text.txt"
    text.write_text(" ".join(f"Does dog {i} run?" for i in range(27)), encoding="utf-8")
    rough = make_plan(configured([*local, "dataset=text", f"dataset.path={text}"]))
    assert sum(split.sentences for split in rough.splits) == 27
    assert sum(split.words for split in rough.splits) == 27 * 5
    assert "split at spaces and punctuation" in rough.facts[1]


def test_the_command_shows_the_plan(call: Command, place: Place, tmp_path: Path) -> None:
    ended = call("plan", *place.small, "layer_by_layer.read_at=[prediction]", f"cache={tmp_path / 'cache'}")
    assert ended.status == 0, ended.err
    assert ended.err == ""
    lines = ended.out.splitlines()
    assert lines[0] == "Plan of a run: llama, mlp, layer 2, conllu"
    assert [line.split()[0].rstrip(",") for line in lines if ", at the prediction" in line] == list(SPLITS)
    assert any(line.startswith("memory for extraction") and " fits " in line for line in lines)
    assert re.search(r"measured on cpu: one block with random weights, \d+ tokens per batch\)", ended.out)
    assert re.search(r"scoring: \d+ x \d+ words x 48 neurons, about \d", ended.out)
    assert re.search(r"probes: at most \d+ \(.*\), about \d", ended.out)
    assert not (tmp_path / "cache" / "activations").exists()  # nothing has been run
    assert not Path("outputs").exists()
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(place.llama / "config.json", bare)
    ended = call("plan", *place.small, f"model.folder={bare}")
    assert "one block with random weights" in ended.out
    ended = call("plan", *place.small, "model.device=cuda", f"cache={tmp_path / 'cache'}")  # where nothing is yet
    assert "time not measured: torch sees no GPU" in ended.out or torch.cuda.is_available()


def test_a_hub_model_without_its_config_says_what_is_missing(call: Command) -> None:
    ended = call("plan", "model=hub", "model.id=nobody/nothing")
    assert ended.status == 1
    for part in (
        "config.json of 'nobody/nothing'",
        "not in the hub cache",
        "model=local model.folder=FOLDER",
    ):
        assert part in ended.error


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["model=local", "model.folder=."], ["is not a model folder: it has no config.json"]),
        (["layer=4,8"], ["layer=4,8 has several values", "keyneurons -m layer=4,8"]),
        (["layer=99"], ["layer must lie in -4..3", "99"]),
        (["top_k=49"], ["top_k must lie in 1..48", "49"]),
        (["activations.devices=2", "model.device_map=auto"], ["2 devices share the passes", "model.device_map=null"]),
        (["topk=3"], ["'topk'", "top_k"]),
        (["selection=probeless", "threshold.kind=fdr"], ["threshold.kind=fdr needs p-values", "Probeless"]),
        (
            ["activations.store=moments", "threshold.kind=permutation"],
            ["activations.store=moments also needs threshold.kind=fdr or none"],
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(call: Command, place: Place, overrides: list[str], told: list[str]) -> None:
    ended = call("plan", *place.small, *overrides)
    assert ended.status == 1
    assert ended.out == ""
    assert ended.error.startswith("keyneurons: error: ")
    assert [part for part in told if part not in ended.error] == []


def test_the_cost_of_lesions_is_counted(config_of: Callable[..., Config], untimed: None) -> None:
    config = config_of("lesion=zero", "lesion.tags=3", "lesion.shares=[0.5,1]", "lesion.families=[random,lowest]")
    plan = make_plan(config)
    (line,) = (note for note in plan.notes if note.startswith("lesions: "))
    # the intact model; of each tag two doses and twice five sets
    assert line.startswith("lesions: 3 tags, 37 conditions and at most 90 further control sets on the words of one tag")
    assert not any("not planned: lesion" in note for note in plan.notes)
    operations = float(re.search(r"at most ([\d.e+-]+) TFLOP", line)[1])
    shape = json.loads((config.model.folder / "config.json").read_text("utf-8"))
    hidden, inner, keys = shape["hidden_size"], shape["intermediate_size"], shape["num_key_value_heads"]
    block = 2 * hidden**2 + 2 * hidden * keys * hidden // shape["num_attention_heads"] + 3 * hidden * inner + 2 * hidden
    read = build_reader(config)
    sentences = build_dataset(config.dataset, config.cache, config.seed).load().splits["test"]
    tokens = sum(len(e.ids) for e in read.encode(sentences[:100]))
    weights = (shape["num_hidden_layers"] - 2) * block + shape["vocab_size"] * hidden
    assert operations * 1e12 == pytest.approx(2 * tokens * 127 * weights, rel=0.01)


def test_the_time_of_lesions_follows_from_the_measured_speed(
    config_of: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyneurons.plan.measure", lambda *_: Speed(1e9, "measured"))
    (line,) = (note for note in make_plan(config_of("lesion=zero")).notes if note.startswith("lesions: "))
    operations, seconds = re.search(
        r"at most ([\d.e+-]+) TFLOP with the head, ([\d.]+) seconds at 1 GFLOP/s$", line
    ).groups()
    assert float(seconds) == pytest.approx(float(operations) * 1e3, abs=0.1)
