"""Overrides in Hydra's grammar: quoting, checks, and trust in recorded sweeps."""

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
BASE = "_base"  # file with the shared keys of a group
LAUNCHERS = {"basic", "joblib", "ray", "submitit_local", "submitit_slurm"}
PLAIN = re.compile(r"[\w.,:%-]*")
OPTION = re.compile(r"[\w-]*")
INTERPOLATION = re.compile(r"(?<!\\)(?:\\\\)*\$\{")
HYDRA_KEYS = (  # Hydra's keys that a recorded sweep may set: parallel jobs, and resources per job
    r"hydra\.sweeper\.max_batch_size|hydra\.launcher\.(?:n_jobs|batch_size|verbose|timeout_min|cpus_per_task|gpus_per_node"
    r"|gpus_per_task|tasks_per_node|mem_gb|nodes|array_parallelism|partition|account|qos|constraint|max_num_timeout"
    r"|num_cpus|num_gpus|workers)"
)


def override(key: str, text: str) -> str:
    """Write an override that sets a key to a text with any characters."""
    literal = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text)  # else OmegaConf resolves it
    return f"{key}={QuotedString(literal, Quote.single).with_quotes()}"


def search_path(config_dir: Path) -> str:
    """Write the override that adds a user's folder of options to Hydra's search path.

    Raises:
        ValueError: If the folder does not exist.
    """
    if not config_dir.is_dir():
        raise ValueError(f"--config-dir: {config_dir} is not a folder")
    _, _, quoted = override("folder", f"file://{config_dir.absolute()}").partition("=")
    return f"hydra.searchpath=[{quoted}]"


def check_overrides(overrides: Sequence[str]) -> None:
    """Reject overrides that Hydra cannot parse or would misinterpret.

    Raises:
        ValueError: If an override is malformed, or sets a group to anything but an option's name.
    """
    for text in overrides:
        parsed = _parsed(text)
        options = options_of(parsed.key_or_group)
        wrong = [value for value in _values(parsed) if not isinstance(value, str | Glob) or value == BASE]
        if parsed.key_or_group in {"experiment", "control"}:  # these groups take several options
            wrong = [value for value in wrong if not isinstance(value, list)]
        if options and wrong:
            raise ValueError(_no_option(parsed.key_or_group, options, wrong[0], text))


def _no_option(group: str, options: Sequence[str], value: Any, text: str) -> str:
    """Explain how to correct an override that does not name an option of its group."""
    if group == "selection" and isinstance(value, list) and len(value) > 1:
        names = ",".join(map(str, value))
        return (
            f"a run has one selection, got {_shorten(text)}; to compare methods on the same activations: "
            f"keyneurons agreement selection=[{names}]; to run each: keyneurons -m selection={names}"
        )
    hint = "; use ~lesion for no lesions, the default" if group == "lesion" and value is None else ""
    return f"{group} takes the name of one option: {', '.join(options)}; got {_shorten(text)}{hint}"


def options_of(group: str) -> list[str]:
    """List the options of a group; empty if the group does not exist."""
    if not re.fullmatch(r"\w+(/\w+)?", group):
        return []
    return sorted(path.stem for path in (conf_folder() / group).glob("[!_]*.yaml"))


def check_recorded(overrides: Sequence[str], *, config_dir: Path | None) -> None:
    """Reject overrides from a recorded sweep that affect more than the configuration of its jobs.

    Args:
        overrides: The recorded overrides.
        config_dir: The user's folder of options, if the command line names one.

    Raises:
        ValueError: If an override could run code, read the environment or write elsewhere.
    """
    from keyneurons.config.schema import Config  # imported late: shell completion does not need it

    folders = [path for folder in (conf_folder(), config_dir) if folder for path in folder.iterdir()]
    groups = {path.name for path in folders if path.is_dir()} - {"hydra"}
    allowed = groups | set(Config.model_fields)
    for text in overrides:
        if (reason := _reject_reason(text, allowed, groups)) is not None:
            raise ValueError(
                f"the record of the sweep has the override {_shorten(text)}, which {reason}; if you trust it, repeat "
                "it on this command line"
            )


def command_line_targets(overrides: Sequence[str], config_dir: Path | None) -> frozenset[str]:
    """Collect the targets that the user names, in overrides or the folder of options."""
    values: list[Any] = []
    for text in overrides:
        if "=" in text:
            parsed = _parsed(text)
            last = parsed.key_or_group.rpartition(".")[2]
            values += [{last: value} if last == "_target_" else value for value in _values(parsed)]
    if config_dir is not None:
        values += [yaml.safe_load(file.read_text(encoding="utf-8")) for file in config_dir.rglob("*.yaml")]
    return frozenset(target for value in values for target in targets_in(value))


def _reject_reason(text: str, allowed: Collection[str], groups: Collection[str]) -> str | None:
    """Explain why a recorded override is rejected; None if it is accepted."""
    try:
        parsed = _parsed(text)
    except ValueError:
        return "cannot be read"
    key, values = parsed.key_or_group, list(_values(parsed))
    if any(INTERPOLATION.search(inner) for value in values for inner in _texts(value)):
        return "contains an interpolation"
    if key == "hydra/launcher":
        return None if all(value in LAUNCHERS for value in values) else "names an unknown launcher"
    if key == "hydra.launcher.address":  # of the user's own cluster, not of any other
        return None if set(values) <= {"auto", None} else "names a cluster"
    if re.fullmatch(HYDRA_KEYS, key):
        return None if all(PLAIN.fullmatch(str(value)) for value in values) else "is not a plain value"
    if swept := re.fullmatch(r"hydra\.sweeper\.params\.(.+)", key):  # the sweep of an experiment
        if any("${" in inner for value in values for inner in _texts(value)):  # resolved again in a job
            return "contains an interpolation"
        reasons = (_reject_reason(f"{swept[1]}={value}", allowed, groups) for value in values)
        return next((reason for reason in reasons if reason is not None), None)
    tops = [re.split(r"[./]", name)[0] for name in (key, parsed.package) if name is not None]
    if not all(top in allowed for top in tops):
        return "changes more than the configuration of the jobs"
    if key in groups or "/" in key:
        names = [name for value in values for name in (value if isinstance(value, list) else [value])]
        if not all(isinstance(name, Glob) or (isinstance(name, str) and OPTION.fullmatch(name)) for name in names):
            return "does not name an option"
    return None


def _parsed(text: str) -> Override:
    if "=" not in text and not text.startswith("~"):
        raise ValueError(f"{_shorten(text)} is not an override: write key=value")
    try:
        parsed = OverridesParser.create().parse_override(text)
    except (HydraException, ValueError, RecursionError) as error:
        raise ValueError(
            f"cannot read the override {_shorten(text)}: brackets and quotes must be closed, and a value with "
            "characters other than letters, digits, spaces and /-+._$%*@?| must be quoted: \"key='value'\""
        ) from error
    if not parsed.key_or_group:
        raise ValueError(f"the override {_shorten(text)} has no key: write key=value")
    return parsed


def _values(parsed: Override) -> Iterator[Any]:
    """Yield the value of an override, or all values of a sweep."""
    value: Any = parsed.value()
    return map(_plain, value.list) if isinstance(value, ChoiceSweep) else iter([] if parsed.is_delete() else [value])


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(each) for key, each in value.items()}
    return value.text if isinstance(value, QuotedString) else value


def _texts(value: Any) -> Iterator[str]:
    """Yield all strings in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _texts(each)


def _shorten(text: str) -> str:
    safe = masked(text)
    return repr(safe if len(safe) <= LONGEST_SHOWN else f"{safe[:LONGEST_SHOWN]}...")
