"""Composes configurations outside Hydra's own runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from keyneurons.addresses import check_no_secrets
from keyneurons.config.overrides import check_overrides
from keyneurons.config.paths import conf_folder
from keyneurons.config.schema import Config
from keyneurons.config.validation import validate

if TYPE_CHECKING:
    from omegaconf import DictConfig


@contextmanager
def composing(config_dir: Path | None = None) -> Generator[None]:
    """Initialise Hydra with ``conf/`` for the duration of a block.

    Args:
        config_dir: The user's folder of options; an option of ``conf/`` with the same name takes
            precedence.

    Yields:
        Nothing.

    Raises:
        ValueError: If the folder does not exist.
    """
    if config_dir is not None and not config_dir.is_dir():
        raise ValueError(f"config_dir={config_dir} is not a folder")
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        if config_dir is not None:
            loader: Any = GlobalHydra.instance().config_loader()
            path = loader.get_search_path()
            path.prepend("command-line", f"file://{config_dir.absolute()}", SearchPathQuery(provider="schema"))
            loader.repository.initialize_sources(path)
        yield


def base_config(overrides: Sequence[str], name: str) -> DictConfig:
    """Compose the base configuration of a run or sweep, including Hydra's part.

    Call it inside ``composing``.

    Args:
        overrides: Overrides of the command line; sweeps are not applied.
        name: Name of the primary configuration.

    Raises:
        ValueError: If the configuration contains a secret, which Hydra would write to the run's
            folder.
    """
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    mode = RunMode.MULTIRUN
    base = hydra.compose_config(name, list(overrides), run_mode=mode, validate_sweep_overrides=False)
    check_no_secrets(OmegaConf.to_container(base, resolve=False))
    return base


def run(task: Callable[[DictConfig], None], overrides: Sequence[str], name: str) -> None:
    """Compose the configuration of a single run and call its task as Hydra does, in ``composing``.

    Args:
        task: The function that Hydra calls.
        overrides: All overrides.
        name: Name of the primary configuration.
    """
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    hydra.run(name, task, list(overrides))


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
    whole = _whole(overrides, config_dir)
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
        own = f'hydra.sweeper.params={{{key}: "..."}}' if "." in key else f'hydra.sweeper.params.{key}="..."'
        raise ValueError(f"the experiment sweeps over {key} itself; change its values with '{own}'")
    return [f"{key}={value}" for key, value in params.items()]


def _whole(overrides: Sequence[str], config_dir: Path | None = None) -> DictConfig:
    check_overrides(overrides)
    with composing(config_dir):
        return compose("config", list(overrides), return_hydra_config=True)
