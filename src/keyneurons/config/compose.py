"""The one place that composes configurations outside a run of Hydra's own."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hydra import compose, initialize_config_dir

from keyneurons.config.overrides import check_overrides
from keyneurons.config.paths import conf_folder
from keyneurons.config.schema import Config, validate

if TYPE_CHECKING:
    from omegaconf import DictConfig


@contextmanager
def composing() -> Generator[None]:
    """Let Hydra compose from ``conf/`` for a while."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        yield


def composed(overrides: Sequence[str]) -> DictConfig:
    """A configuration with some overrides, not checked; inside ``composing``, or a run of Hydra's own."""
    return compose("config", list(overrides))


def checked(overrides: Sequence[str]) -> Config:
    """The checked configuration with some overrides."""
    return checked_with_choices(overrides)[0]


def checked_with_choices(overrides: Sequence[str]) -> tuple[Config, dict[str, str]]:
    """The checked configuration with some overrides, and the option chosen in each of its groups."""
    check_overrides(overrides)
    with composing():
        whole = compose("config", list(overrides), return_hydra_config=True)
    chosen = dict(whole.hydra.runtime.choices)
    del whole.hydra
    own = {group: str(option) for group, option in chosen.items() if option and not group.startswith("hydra/")}
    return validate(whole), own
