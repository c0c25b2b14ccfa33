"""The one place that composes configurations outside a run of Hydra's own."""

from __future__ import annotations

from collections.abc import Generator, Sequence
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
    """Let Hydra compose from ``conf/`` for a while.

    Args:
        config_dir: the user's own folder of options; ours of the same name go before them.

    Yields:
        Nothing.

    Raises:
        ValueError: there is no such folder.
    """
    if config_dir is not None and not config_dir.is_dir():
        raise ValueError(f"config_dir={config_dir} is no folder")
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        if config_dir is not None:
            loader: Any = GlobalHydra.instance().config_loader()
            path = loader.get_search_path()
            path.prepend("command-line", f"file://{config_dir.absolute()}", SearchPathQuery(provider="schema"))
            loader.repository.initialize_sources(path)
        yield


def base_config(overrides: Sequence[str], name: str) -> DictConfig:
    """The configuration that a run, or all jobs of a sweep, start from, with Hydra's own part; inside ``composing``.

    Args:
        overrides: those of the command line; what is swept is not applied.
        name: of the primary configuration.

    Raises:
        ValueError: a secret is in it, which Hydra would write into the folder of the run.
    """
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    mode = RunMode.MULTIRUN
    base = hydra.compose_config(name, list(overrides), run_mode=mode, validate_sweep_overrides=False)
    check_no_secrets(OmegaConf.to_container(base, resolve=False))
    return base


def composed(overrides: Sequence[str]) -> DictConfig:
    """A configuration with some overrides, not checked; inside ``composing``, or a run of Hydra's own."""
    return compose("config", list(overrides))


def checked(overrides: Sequence[str]) -> Config:
    """The checked configuration with some overrides; of a sweep, what its jobs share."""
    whole = _whole(overrides)
    del whole.hydra
    return validate(whole)


def checked_with_choices(overrides: Sequence[str], config_dir: Path | None = None) -> tuple[Config, dict[str, str]]:
    """The checked configuration of a single run, and the option chosen in each of its groups.

    Args:
        overrides: its overrides.
        config_dir: the user's own folder of options.

    Raises:
        ValueError: the folder is missing, the configuration is that of a sweep, or it is not legal.
    """
    whole = _whole(overrides, config_dir)
    if whole.hydra.mode == RunMode.MULTIRUN:
        raise ValueError("this configuration is a sweep (hydra.mode=MULTIRUN): start it from the command line")
    chosen = dict(whole.hydra.runtime.choices)
    del whole.hydra
    own = {group: str(option) for group, option in chosen.items() if option and not group.startswith("hydra/")}
    return validate(whole), own


def configured_sweep(overrides: Sequence[str]) -> list[str]:
    """The sweep that an experiment asks for itself, as overrides; inside ``composing``.

    Args:
        overrides: all that are given, sweeps among them.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    plain = [str(each.input_line) for each in parsed if not each.is_sweep_override()]
    return sweep_params(compose("config", plain, return_hydra_config=True).hydra, overrides)


def sweep_params(hydra: DictConfig, given: Sequence[str]) -> list[str]:
    """What ``hydra.sweeper.params`` sweep over, as overrides.

    Args:
        hydra: Hydra's own configuration.
        given: the overrides of the command line.

    Raises:
        ValueError: one of them gives the same key; Hydra would run every job several times.
    """
    params = dict(hydra.sweeper.get("params") or {})
    for key in params.keys() & {each.lstrip("+").partition("=")[0] for each in given}:
        raise ValueError(f"the experiment sweeps over {key} itself; other values: 'hydra.sweeper.params.{key}=\"...\"'")
    return [f"{key}={value}" for key, value in params.items()]


def _whole(overrides: Sequence[str], config_dir: Path | None = None) -> DictConfig:
    check_overrides(overrides)
    with composing(config_dir):
        return compose("config", list(overrides), return_hydra_config=True)
