"""Composes configurations outside Hydra's own runs."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode

from keyneurons.config.overrides import check_overrides, override
from keyneurons.config.paths import conf_folder
from keyneurons.config.schema import Config
from keyneurons.config.validation import validate

if TYPE_CHECKING:
    from omegaconf import DictConfig


@contextmanager
def composing() -> Generator[None]:
    """Initialise Hydra with ``conf/`` for the duration of a block."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        yield


def composed(overrides: Sequence[str]) -> DictConfig:
    """Compose an unchecked configuration, inside ``composing`` or a Hydra run."""
    return compose("config", list(overrides))


def checked(overrides: Sequence[str]) -> Config:
    """Compose and check a configuration; for a sweep, the part that its jobs share."""
    whole = _whole(overrides)
    del whole.hydra
    return validate(whole)


def checked_with_choices(overrides: Sequence[str], config_dir: Path | None = None) -> tuple[Config, dict[str, str]]:
    """Compose and check the configuration of a single run.

    Args:
        overrides: Overrides of the run.
        config_dir: The user's folder of options.

    Returns:
        The checked configuration, and the chosen option of each group.

    Raises:
        ValueError: If the folder is missing, or the configuration is invalid or that of a sweep.
    """
    whole = _whole([*_search_path(config_dir), *overrides])
    if whole.hydra.mode == RunMode.MULTIRUN:
        raise ValueError("this configuration is a sweep (hydra.mode=MULTIRUN): run it from the command line")
    chosen = dict(whole.hydra.runtime.choices)
    del whole.hydra
    choices = {group: str(option) for group, option in chosen.items() if option and not group.startswith("hydra/")}
    return validate(whole), choices


def configured_sweep(overrides: Sequence[str]) -> list[str]:
    """Return the sweep defined by the experiment as overrides; call it inside ``composing``.

    Args:
        overrides: All overrides, including sweeps.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    plain = [str(each.input_line) for each in parsed if not each.is_sweep_override()]
    return sweep_params(compose("config", plain, return_hydra_config=True).hydra, overrides)


def sweep_params(hydra: DictConfig, overrides: Sequence[str]) -> list[str]:
    """Convert ``hydra.sweeper.params`` to overrides.

    Args:
        hydra: Hydra's own configuration.
        overrides: The overrides of the command line.

    Raises:
        ValueError: If an override sets the same key; Hydra would run every job several times.
    """
    params = dict(hydra.sweeper.get("params") or {})
    for key in params.keys() & {each.lstrip("+").partition("=")[0] for each in overrides}:
        raise ValueError(
            f"the experiment sweeps over {key} itself; change its values with 'hydra.sweeper.params.{key}=\"...\"'"
        )
    return [f"{key}={value}" for key, value in params.items()]


def _whole(overrides: Sequence[str]) -> DictConfig:
    check_overrides(overrides)
    with composing():
        return compose("config", list(overrides), return_hydra_config=True)


def _search_path(config_dir: Path | None) -> list[str]:
    if config_dir is None:
        return []
    if not config_dir.is_dir():
        raise ValueError(f"config_dir={config_dir} is not a folder")
    _, _, quoted = override("folder", f"file://{config_dir.absolute()}").partition("=")
    return [f"hydra.searchpath=[{quoted}]"]
