"""The schema: accepted values, error messages and the resolution of layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pydantic import ValidationError

from keyneurons.config.paths import conf_folder
from keyneurons.config.schema import Config
from keyneurons.config.validation import validate
from keyneurons.config.values import resolve_layers

WIDTH = "report.width: should be one or two (columns of a paper), or a number of inches from 2 to 20"
LAYER = "layer: must be a block number, a list of block numbers, a relative depth (0.0 to below 1.0), or all"
BATCH = "activations.batch_tokens: should be auto or an integer above 0"


@pytest.fixture(scope="module")
def defaults() -> Any:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose("config")


def changed(defaults: Any, **changes: Any) -> Config:
    """The defaults with some values changed; ``__`` stands for the dot of a key."""
    copy = OmegaConf.create(OmegaConf.to_container(defaults, resolve=False))
    for key, value in changes.items():
        OmegaConf.update(copy, key.replace("__", "."), value, force_add=True)
    return validate(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top_k": "abc"}, "top_k: should be a valid integer, unable to parse string as an integer, got 'abc'"),
        ({"top_k": 0}, "top_k: should be greater than 0, got 0"),
        ({"activations__batch_tokens": 0}, f"{BATCH}, got 0"),
        ({"activations__batch_tokens": "all"}, f"{BATCH}, got 'all'"),
        ({"activations__batch_tokens": True}, f"{BATCH}, got True"),
        ({"seed": -1}, "seed: should be greater than or equal to 0, got -1"),
        ({"surprise": 1}, "surprise: unknown key"),
        ({"model__surprise": 1}, "model.surprise: unknown key"),
        ({"dataset__surprise": 1}, "dataset.surprise: unknown key"),
        (
            {"layer": True},
            f"{LAYER}, got True",
        ),
        (
            {"layer": [1, "x"]},
            f"{LAYER}, got [1, 'x']",
        ),
        (
            {"layer": None},
            f"{LAYER}, got None",
        ),
        ({"scope": "tag"}, "scope: should be 'layer' or 'model', got 'tag'"),
        ({"model__device": "cuda:x"}, "model.device: should be auto, cpu, cuda or cuda:NUMBER, got 'cuda:x'"),
        ({"dataset__tags": "NOUN"}, "dataset.tags: should be a list, such as [A,B], got 'NOUN'"),
        ({"trainer__max_epochs": 0}, "trainer.max_epochs: should be greater than 0, got 0"),
        ({"probe__patience": 0}, "probe.patience: should be greater than 0, got 0"),
        ({"report__figure_formats": ["gif"]}, "report.figure_formats.0: should be 'png', 'svg' or 'pdf', got 'gif'"),
        ({"report__figure_formats": "svg"}, "report.figure_formats: should be a list, such as [A,B], got 'svg'"),
        ({"report__width": "three"}, f"{WIDTH}, got 'three'"),
        ({"report__width": 1}, f"{WIDTH}, got 1"),
        ({"report__width": True}, f"{WIDTH}, got True"),
        (
            {"basis": {"kind": "rotation", "seed": -1}},
            "basis.seed: should be greater than or equal to 0, got -1",
        ),
        ({"report__style": ""}, "report.style: should be a path (. is the current folder), got ''"),
        (
            {"top_k": -1, "seed": -1},
            "top_k: should be greater than 0, got -1; seed: should be greater than or equal to 0, got -1",
        ),
    ],
)
def test_what_is_wrong_is_said_with_the_key_and_the_value(defaults: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        changed(defaults, **changes)
    assert str(refused.value) == message


def test_a_cap_must_name_every_split(defaults: Any) -> None:
    copy = OmegaConf.create(OmegaConf.to_container(defaults, resolve=False))
    copy.dataset.max_words = {"train": 5}
    with pytest.raises(ValueError, match=r"dataset\.max_words: set one value for each of train, dev, test"):
        validate(copy)


def test_the_configuration_is_frozen(defaults: Any) -> None:
    config = validate(defaults)
    with pytest.raises(ValidationError):
        config.top_k = 5  # type: ignore[misc]


def test_what_is_checked_is_not_changed(defaults: Any) -> None:
    before = OmegaConf.to_yaml(defaults)
    validate(defaults)
    assert OmegaConf.to_yaml(defaults) == before


def test_relative_places_count_from_the_folder_of_the_command(
    defaults: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = changed(defaults, tracking__uri="sqlite:///a/b.db", tracking__artifacts="kept")
    assert config.tracking.uri == f"sqlite:///{tmp_path}/a/b.db"
    assert config.tracking.artifacts == tmp_path / "kept"
    assert changed(defaults, tracking__uri="sqlite:////b.db").tracking.uri == "sqlite:////b.db"
    assert changed(defaults, tracking__uri="http://x:1").tracking.uri == "http://x:1"


@pytest.mark.parametrize(
    ("layer", "meant"),
    [
        (0, (0,)),
        (3, (3,)),
        (-1, (3,)),
        (-4, (0,)),
        ("all", (0, 1, 2, 3)),
        (0.0, (0,)),
        (0.5, (2,)),
        (0.74, (2,)),
        (0.99, (3,)),
        ((2, 0), (0, 2)),
        ((1, -3, 1), (1,)),
        ((-1, 0), (0, 3)),
    ],
)
def test_layers_are_ascending_and_each_once(layer: Any, meant: tuple[int, ...]) -> None:
    assert resolve_layers(layer, 4) == meant


@pytest.mark.parametrize(("layer", "first"), [(4, 4), (-5, -5), ((0, 4), 4), ((-6, 9), -6)])
def test_layers_that_a_model_lacks_are_refused(layer: Any, first: int) -> None:
    with pytest.raises(ValueError, match=rf"layer must lie in -4\.\.3 or be 'all', got {first}$"):
        resolve_layers(layer, 4)
