"""Validates composed configurations; errors are one line that names the legal values."""

from __future__ import annotations

from typing import Any, get_args

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue
from pydantic import ValidationError

from keyneurons.addresses import masked, masked_address
from keyneurons.config.derived import derived_keys
from keyneurons.config.schema import Config
from keyneurons.config.values import quoted
from keyneurons.metric_names import shortened

VARIANTS = {
    (section, variant)
    for section in ("model", "dataset", "basis")
    for member in get_args(Config.model_fields[section].annotation)
    for variant in get_args(member.model_fields[Config.model_fields[section].discriminator].annotation)
}
"""Sections of several kinds with each kind, which pydantic adds to the names of their keys."""


def validate(composed: DictConfig) -> Config:
    """Validate a composed configuration.

    Args:
        composed: The configuration composed by Hydra.

    Returns:
        The validated configuration, with the keys that are derived from others.

    Raises:
        ValueError: If a value is missing, unknown or out of range; one line names each key and its
            legal values.
    """
    try:
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ValueError(f"{error.full_key} has no default; set it: {error.full_key}=...") from None
    return validate_plain(plain).with_derived(derived_keys(composed))


def validate_plain(plain: Any) -> Config:
    """Validate a configuration of plain values, such as one read from a file.

    Raises:
        ValueError: If a value is missing, unknown or out of range; one line names each key and its
            legal values.
    """
    try:
        return Config.model_validate(plain)
    except ValidationError as error:
        raise ValueError("; ".join(_explain(dict(e)) for e in error.errors())) from None


def _explain(error: dict[str, Any]) -> str:
    key = ".".join(
        str(part) for i, part in enumerate(error["loc"]) if i != 1 or (error["loc"][0], part) not in VARIANTS
    )
    message: str = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    if error["type"] == "model_type":
        return _section(key, error["input"])
    if error["type"] == "literal_error":
        message = message.replace("True", "true")
    if error["type"] == "tuple_type":
        message = "should be a list, such as [A,B]"
    if not key:
        return message
    if error["type"] == "missing":
        return f"{key}: missing, and has no default"
    if error["type"] == "string_type" and isinstance(error["input"], int | float | None):
        message = f'should be text; quote it: "{key}={quoted(error["input"])}"'
    shown = masked(repr(error["input"]))
    if isinstance(error["input"], str) and key == "tracking.uri":
        shown = repr(masked_address(error["input"]))
    return f"{key}: {message}, got {shortened(shown, 200)}"


def _section(key: str, value: Any) -> str:
    """Explain how to set a section that received a plain value."""
    text = str(value).lower() if isinstance(value, bool) else masked(str(value))
    names = list(getattr(getattr(Config.model_fields.get(key), "annotation", None), "model_fields", ()))
    if not names:  # a component inside a section, such as control.random or probe.optimizer
        return f"{key} has keys of its own: write {key}.KEY=VALUE, got {shortened(text, 200)}"
    return f"{key} has keys of its own ({', '.join(names)}): write {key}.{names[0]}={shortened(text, 200)}"
