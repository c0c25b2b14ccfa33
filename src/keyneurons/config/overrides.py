"""Overrides in Hydra's grammar: written, checked, and taken from records of others."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, Quote, QuotedString
from hydra.errors import HydraException

from keyneurons.addresses import masked
from keyneurons.config.paths import conf_folder
from keyneurons.config.targets import targets_in

LONGEST_SHOWN = 80
BASE = "_base"  # what the options of a group share
LAUNCHERS = {"basic", "joblib", "ray", "submitit_local", "submitit_slurm"}
PLAIN = re.compile(r"[\w.,:%-]*")
OPTION = re.compile(r"[\w-]*")
INTERPOLATION = re.compile(r"(?<!\\)(?:\\\\)*\$\{")
OF_HYDRA = (  # what a sweep may record of Hydra's own configuration: how many jobs run at a time, and what each takes
    r"hydra\.sweeper\.max_batch_size|hydra\.launcher\.(?:n_jobs|batch_size|verbose|timeout_min|cpus_per_task|gpus_per_node"
    r"|gpus_per_task|tasks_per_node|mem_gb|nodes|array_parallelism|partition|account|qos|constraint|max_num_timeout"
    r"|ray\.init\.logging_level|ray\.init\.include_dashboard|ray\.remote\.(?:num_cpus|num_gpus|max_retries))"
)


def override(key: str, text: str) -> str:
    """An override that gives a key a text, whatever characters it has."""
    literal = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)  # or OmegaConf resolves it
    return f"{key}={QuotedString(literal, Quote.single).with_quotes()}"


def search_path(config_dir: Path) -> str:
    """The override by which Hydra also finds the options of a user's own folder.

    Raises:
        ValueError: there is no such folder.
    """
    if not config_dir.is_dir():
        raise ValueError(f"--config-dir: {config_dir} is no folder")
    _, _, quoted = override("folder", f"file://{config_dir.absolute()}").partition("=")
    return f"hydra.searchpath=[{quoted}]"


def check_overrides(overrides: Sequence[str]) -> None:
    """Refuse what Hydra cannot read, or takes for something else than it says.

    Raises:
        ValueError: an override is none, or gives a group something else than the name of an option.
    """
    for text in overrides:
        parsed = _parsed(text)
        options = options_of(parsed.key_or_group)
        wrong = [value for value in _values(parsed) if not isinstance(value, str | Glob) or value == BASE]
        if parsed.key_or_group in {"experiment", "control"}:  # several can be merged
            wrong = [value for value in wrong if not isinstance(value, list)]
        if options and wrong:
            raise ValueError(_no_option(parsed.key_or_group, options, wrong[0], text))


def _no_option(group: str, options: Sequence[str], value: Any, text: str) -> str:
    """What to write instead of an override that gives a group something else than the name of an option."""
    if group == "selection" and isinstance(value, list) and len(value) > 1:
        names = ",".join(map(str, value))
        return (
            f"a run has one selection, got {_shown(text)}; to compare methods on the same activations: "
            f"keyneurons agreement selection=[{names}]; to do a run with each: keyneurons -m selection={names}"
        )
    hint = "; ~lesion leaves it out, as is the default" if group == "lesion" and value is None else ""
    return f"{group} takes the name of one option: {', '.join(options)}; got {_shown(text)}{hint}"


def options_of(group: str) -> list[str]:
    """The options of a group of the configuration, without what they share; none where it is no group."""
    if not re.fullmatch(r"\w+(/\w+)?", group):
        return []
    return sorted(path.stem for path in (conf_folder() / group).glob("[!_]*.yaml"))


def check_recorded(overrides: Sequence[str], *, config_dir: Path | None) -> None:
    """Refuse overrides out of somebody's record of a sweep that reach beyond the configuration of its jobs.

    Args:
        overrides: as they were recorded.
        config_dir: the user's own folder of options, if this command line names one.

    Raises:
        ValueError: an override is one that could run code, read the environment or write elsewhere.
    """
    from keyneurons.config.schema import Config  # late: completion does without

    folders = [path for folder in (conf_folder(), config_dir) if folder for path in folder.iterdir()]
    groups = {path.name for path in folders if path.is_dir()} - {"hydra"}
    own = groups | set(Config.model_fields)
    for text in overrides:
        if (why := _beyond(text, own, groups)) is not None:
            raise ValueError(
                f"the record of the sweep has the override {_shown(text)}, which {why}; if it is yours, give it again "
                "on this command line"
            )


def targets_given(overrides: Sequence[str], config_dir: Path | None) -> frozenset[str]:
    """The targets that a command line names itself, in its overrides or in the user's own folder of options."""
    named: list[Any] = []
    for text in overrides:
        if "=" in text:
            parsed = _parsed(text)
            last = parsed.key_or_group.rpartition(".")[2]
            named += [{last: value} if last == "_target_" else value for value in _values(parsed)]
    if config_dir is not None:
        named += [yaml.safe_load(file.read_text(encoding="utf-8")) for file in config_dir.rglob("*.yaml")]
    return frozenset(target for value in named for target in targets_in(value))


def _beyond(text: str, own: Collection[str], groups: Collection[str]) -> str | None:
    """Why a recorded override is not taken."""
    try:
        parsed = _parsed(text)
    except ValueError:
        return "cannot be read"
    key, values = parsed.key_or_group, list(_values(parsed))
    if any(INTERPOLATION.search(inner) for value in values for inner in _texts(value)):
        return "holds an interpolation"
    if key == "hydra/launcher":
        return None if all(value in LAUNCHERS for value in values) else "names a launcher that is not known here"
    if re.fullmatch(OF_HYDRA, key):
        return None if all(PLAIN.fullmatch(str(value)) for value in values) else "is no plain value"
    if swept := re.fullmatch(r"hydra\.sweeper\.params\.(.+)", key):  # of an experiment that is a sweep
        if any("${" in inner for value in values for inner in _texts(value)):  # resolved once more in a job
            return "holds an interpolation"
        reasons = (_beyond(f"{swept[1]}={value}", own, groups) for value in values)
        return next((reason for reason in reasons if reason is not None), None)
    tops = [re.split(r"[./]", name)[0] for name in (key, parsed.package) if name is not None]
    if not all(top in own for top in tops):
        return "changes more than the configuration of the jobs"
    if key in groups or "/" in key:
        names = [name for value in values for name in (value if isinstance(value, list) else [value])]
        if not all(isinstance(name, Glob) or (isinstance(name, str) and OPTION.fullmatch(name)) for name in names):
            return "is no name of an option"
    return None


def _parsed(text: str) -> Override:
    if "=" not in text and not text.startswith("~"):
        raise ValueError(f"{_shown(text)} is no override: write key=value")
    try:
        parsed = OverridesParser.create().parse_override(text)
    except (HydraException, ValueError, RecursionError) as error:
        raise ValueError(
            f"cannot read the override {_shown(text)}: brackets and quotes must be closed, and a value with other "
            "characters than letters, digits, spaces and /-+._$%*@?| must be quoted: \"key='value'\""
        ) from error
    if not parsed.key_or_group:
        raise ValueError(f"the override {_shown(text)} names no key: write key=value")
    return parsed


def _values(parsed: Override) -> Iterator[Any]:
    """The value of an override, or all values that a sweep over it has."""
    value: Any = parsed.value()
    return map(_plain, value.list) if isinstance(value, ChoiceSweep) else iter([] if parsed.is_delete() else [value])


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(each) for key, each in value.items()}
    return value.text if isinstance(value, QuotedString) else value


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _texts(each)


def _shown(text: str) -> str:
    shown = masked(text)
    return repr(shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}...")
