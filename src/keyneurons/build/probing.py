"""Probes and controls of a configuration."""

from __future__ import annotations

from functools import partial

from keyneurons.build.components import build_probe_settings, build_trainer, instantiate_component, is_plain
from keyneurons.config import schema
from keyneurons.pipeline.controls.control import Control
from keyneurons.pipeline.probes import Training
from keyneurons.pipeline.probing import Probing
from keyneurons.pipeline.trial_results import ResultStore


def build_probing(config: schema.Config) -> Probing:
    """Build the probes of the key neurons with their controls.

    Args:
        config: the validated configuration.

    Returns:
        The probes, their trainer and the controls.

    Raises:
        ValueError: trainer, optimizer or a control rejects its arguments.
    """
    training = build_training(config)
    sets, resamples = config.per_tag.random_sets, config.intervals.resamples
    return Probing(training, build_controls(config), sets, resamples, build_results(config))


def build_training(config: schema.Config) -> Training:
    """The training of probes.

    Raises:
        ValueError: trainer or optimizer rejects its arguments.
    """
    if not is_plain(config.trainer):  # the import of Lightning takes seconds
        build_trainer(config.trainer)  # raises before extraction
    identity = config.probe.model_dump_json() + config.trainer.model_dump_json()
    settings = build_probe_settings(config.probe, config.activations.memory_mb)
    return Training(settings, partial(build_trainer, config.trainer), config.seed, identity)


def build_results(config: schema.Config) -> ResultStore:
    """The cache of probe results."""
    return ResultStore(config.cache.expanduser() / "probes")


def build_controls(config: schema.Config) -> dict[str, Control]:
    """The controls by name.

    Raises:
        ValueError: a control rejects its arguments or does not implement ``Control``.
    """
    controls = {name: instantiate_component(f"control.{name}", component) for name, component in config.control.items()}
    for name, control in controls.items():
        if not isinstance(control, Control):
            raise ValueError(
                f"control.{name}._target_={config.control[name].target} must make a control with label, contrast, "
                f"role, reads, trains and __call__, got {type(control).__name__}"
            )
    return controls
