"""The shipped configs of named models, compared with their published numbers of parameters."""

from __future__ import annotations

import pytest
import yaml
from user import Command

from keyneurons.cli.commands import _config as configured
from keyneurons.config.paths import conf_folder
from keyneurons.models.sources import HubModel
from keyneurons.plan.model import CONFIGS, PlannedModel, meta_model

PARAMETERS = {  # with the output layer where it is not tied; BERT without its pooler
    "llama3_8b": 8_030_261_248,
    "llama3_70b": 70_553_706_496,
    "pythia_160m": 162_322_944,
    "gpt2": 124_439_808,
    "bert_base": 109_482_240 - 590_592,
}


def named() -> list[str]:
    options = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(conf_folder().glob("model/*.yaml"))}
    return [name for name, option in options.items() if "/" in str(option.get("id", ""))]


def test_every_named_model_has_a_config() -> None:
    assert set(named()) == set(PARAMETERS)
    assert len(list(CONFIGS.glob("*/config.json"))) == len(PARAMETERS)


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_a_shipped_config_has_the_size_of_the_model(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    def unreachable(*_: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(HubModel, "_snapshot", unreachable)
    planned = PlannedModel.of(configured([f"model={name}"]).model, tmp_path, gpu_wanted=False)
    config, network = planned.model.config, meta_model(planned.model)
    own = sum(p.numel() for p in network.parameters())
    if getattr(network, "pooler", None) is not None:
        own -= sum(p.numel() for p in network.pooler.parameters())
    tied = config.tie_word_embeddings or name == "bert_base"
    assert own + (0 if tied else config.vocab_size * config.hidden_size) == PARAMETERS[name]
    assert not planned.weights
    assert not planned.tokenizer


def test_a_plan_of_a_named_model_needs_no_network(call: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(HubModel, "_snapshot", unreachable)
    ended = call("plan", "model=gpt2", "layer=all", "model.dtype=bfloat16")
    assert ended.status == 0, ended.err
    assert "12 of 12 blocks run" in ended.out
    assert "no local weights; no local tokenizer" in ended.out
    ended = call("model=gpt2")
    assert ended.status == 1
    assert "not in the hub cache and cannot be fetched" in ended.error
