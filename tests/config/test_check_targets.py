"""Targets in external configurations: only known components are accepted, at any depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from keyneurons.config.paths import conf_folder
from keyneurons.config.targets import check_targets, targets_in

OPTIONS = sorted(path for path in conf_folder().rglob("*.yaml") if "hydra" not in path.parts and path.stem != "config")
LAUNCHERS = sorted((conf_folder() / "hydra" / "launcher").glob("*.yaml"))


@pytest.mark.parametrize("option", [*OPTIONS, *LAUNCHERS], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_target_of_an_option_is_known(option: Path) -> None:
    text = option.read_text(encoding="utf-8").replace("${", "$ {")  # launchers' interpolations are resolved by Hydra
    check_targets(yaml.safe_load(text))


BAD = [
    "os.system",
    "builtins.eval",
    "numpy.load",
    "torch.load",
    "torch.hub.load",
    "torch.optim",
    "torch.optim.optimizer.torch.load",
    "torch.optim.lr_scheduler.StepLR",
    "torch.optim.Adam\n",
    "keyneurons",
    "keyneurons.build.components.instantiate",
    "keyneurons.atomic_files.write_text",
    "keyneurons.runs.provenance.subprocess.run",
    "keyneurons.selection.methods.correlation.Tensor",
    "keyneurons.selection.methods.correlation.torch.load",
    "keyneurons.selection.nowhere.Correlation",
    "keyneurons.selection.methods.correlation.Nothing",
    "keyneurons.selection...os.system",
    "keyneurons.attribution.method.Callable",
    "lightning.pytorch.Trainer.fit",
    "lightning.pytorch.trainer.Trainer",
    "keyneurons_evil.selection.x.Y",
    "hydra.utils.instantiate",
    "hydra_plugins.evil.Launcher",
    "",
    None,
    3,
    ["os.system"],
]


@pytest.mark.parametrize("target", BAD)
def test_an_unknown_target_is_refused_with_its_key(target: Any) -> None:
    with pytest.raises(ValueError, match=r"^probe\.optimizer\._target_="):
        check_targets({"probe": {"optimizer": {"_target_": target}}})


NESTS = st.recursive(
    st.just({"_target_": "os.system", "command": "true"}),
    lambda inner: st.one_of(
        st.lists(st.one_of(st.integers(), inner), min_size=1, max_size=3).filter(lambda v: any(map(_holds, v))),
        st.dictionaries(st.text(max_size=4), inner, min_size=1, max_size=2),
        inner.map(lambda value: {"_target_": "keyneurons.selection.methods.correlation.Correlation", "of": value}),
    ),
    max_leaves=4,
)


def _holds(value: Any) -> bool:
    return isinstance(value, dict | list)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(NESTS)
def test_a_target_is_found_wherever_it_stands(config: Any) -> None:
    assert "os.system" in targets_in(config)
    with pytest.raises(ValueError, match=r"_target_=os\.system"):
        check_targets(config)
    check_targets(config, trusted={"os.system"})


def test_what_instantiating_would_resolve_is_refused() -> None:
    component = {"_target_": "keyneurons.selection.methods.correlation.Correlation", "x": [{"y": "${oc.env:HOME}"}]}
    with pytest.raises(ValueError, match=r"^selection\.x\[0\]\.y contains an interpolation"):
        check_targets({"selection": component, "cache": "a folder named ${x}"})
    check_targets({"cache": "a folder named ${x}"})


def test_the_names_that_pass_as_optimizers_are_optimizers() -> None:
    names = [name for name in dir(torch.optim) if name[0].isupper()]
    assert all(issubclass(getattr(torch.optim, name), torch.optim.Optimizer) for name in names)
