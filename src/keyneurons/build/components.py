"""Swappable components, and the trainer and the optimizer of the probes: the only place that instantiates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from keyneurons.config import schema

if TYPE_CHECKING:
    from lightning import Trainer


def instantiated(key: str, component: schema.Component) -> Any:
    """Make a swappable component.

    Raises:
        ValueError: its signature or its own checks refuse the arguments; named by its key.
    """
    try:
        return instantiate(component.model_dump(by_alias=True))
    except InstantiationException as error:
        cause = error.__cause__ or error
        raise ValueError(f"{key}: {' '.join(str(cause).split())}") from error


def build_probe_settings(probe: schema.Probe) -> Any:
    """How probes are trained, tried on one parameter: a wrong learning rate is refused now.

    Raises:
        ValueError: the optimizer does not take its arguments.
    """
    import torch

    from keyneurons.probe.fit import ProbeSettings

    values = {name: getattr(probe, name) for name in schema.Probe.model_fields}
    optimizer = instantiated("probe.optimizer", probe.optimizer)
    try:
        optimizer([torch.nn.Parameter(torch.zeros(1))])
    except (ValueError, TypeError) as error:
        raise ValueError(f"probe.optimizer: {error}") from error
    return ProbeSettings(**{**values, "optimizer": optimizer})


def build_trainer(component: schema.Trainer) -> Trainer:
    """A new trainer of one device: several are for passes over the text, a probe is too small to share.

    Raises:
        ValueError: this machine lacks the accelerator, or the arguments do not fit.
    """
    import lightning.pytorch  # noqa: F401 (sets the level of its log, so before it is made quiet)

    from keyneurons.quiet import quiet_lightning

    try:
        with quiet_lightning():
            alone = component.model_copy(update={"devices": 1, "num_nodes": 1})
            trainer: Trainer = instantiated("trainer", alone)
    except ValueError as error:
        raise ValueError(f"{error} (trainer is auto, cpu, or gpu where there is one)") from error
    return trainer
