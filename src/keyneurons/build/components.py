"""Instantiation of components that a configuration names by ``_target_``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from keyneurons.config import schema

if TYPE_CHECKING:
    from lightning import Trainer

TRAINER = "lightning.pytorch.Trainer"
PLAIN: Mapping[str, object] = MappingProxyType({
    **dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
    "num_sanity_val_steps": 0,
})
"""The options of every shipped trainer besides its accelerator and ``max_epochs``."""


def instantiate_component(key: str, component: schema.Component) -> Any:
    """Instantiate the component of a configuration key.

    Raises:
        ValueError: the component rejects its arguments; the message names the key.
    """
    try:
        return instantiate(component.model_dump(by_alias=True))
    except InstantiationException as error:
        cause = error.__cause__ or error
        raise ValueError(f"{key}: {' '.join(str(cause).split())}") from error


def build_probe_settings(probe: schema.Probe, memory_mb: int) -> Any:
    """Settings of probe training; the optimizer is tested on one parameter.

    Raises:
        ValueError: the optimizer rejects its arguments.
    """
    import torch

    from keyneurons.probe.fit import ProbeSettings

    values = {name: getattr(probe, name) for name in schema.Probe.model_fields}
    optimizer = instantiate_component("probe.optimizer", probe.optimizer)
    try:
        optimizer([torch.nn.Parameter(torch.zeros(1))])
    except (ValueError, TypeError) as error:
        raise ValueError(f"probe.optimizer: {error}") from error
    return ProbeSettings(**{**values, "optimizer": optimizer}, memory_bytes=memory_mb * 2**20)


def is_plain(component: schema.Trainer) -> bool:
    """Whether a trainer has the shipped options, which Lightning accepts on every machine."""
    options = dict(component.model_extra or {})
    return component.target == TRAINER and options.pop("accelerator", None) in {"auto", "cpu"} and options == PLAIN


def build_trainer(component: schema.Trainer) -> Trainer:
    """A new trainer on one device; only extraction uses several.

    Raises:
        ValueError: this machine lacks the accelerator, or the arguments are invalid.
    """
    import lightning.pytorch  # noqa: F401 (sets its log level, so it comes before quiet_lightning)

    from keyneurons.quiet import quiet_lightning

    try:
        with quiet_lightning():
            single = component.model_copy(update={"devices": 1, "num_nodes": 1})
            trainer: Trainer = instantiate_component("trainer", single)
    except ValueError as error:
        raise ValueError(f"{error} (trainer must be auto, cpu, or gpu on a machine with a GPU)") from error
    return trainer
