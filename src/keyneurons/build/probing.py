"""The probes and what they are measured against."""

from __future__ import annotations

from functools import partial

from keyneurons.build.components import build_probe_settings, build_trainer, instantiated
from keyneurons.config import schema
from keyneurons.memo import Memo
from keyneurons.pipeline.controls.control import Control
from keyneurons.pipeline.probes import Training
from keyneurons.pipeline.probing import Probing


def build_probing(config: schema.Config, memo: Memo | None = None) -> Probing:
    """How the key neurons are probed.

    Args:
        config: the checked configuration.
        memo: keeps what runs in one process share; a new one without it.

    Returns:
        The probes, their trainer and the controls.

    Raises:
        ValueError: trainer, optimizer or a control does not take its arguments.
    """
    build_trainer(config.trainer)  # refused now, not after a pass over the text
    identity = config.probe.model_dump_json() + config.trainer.model_dump_json()
    training = Training(
        build_probe_settings(config.probe), partial(build_trainer, config.trainer), config.seed, identity
    )
    return Probing(training, build_controls(config), config.per_tag.random_sets, memo or Memo())


def build_controls(config: schema.Config) -> dict[str, Control]:
    """The controls by name.

    Raises:
        ValueError: a control does not take its arguments, or is none.
    """
    controls = {name: instantiated(f"control.{name}", component) for name, component in config.control.items()}
    for name, control in controls.items():
        if not isinstance(control, Control):
            raise ValueError(
                f"control.{name}._target_={config.control[name].target} must make a control, with label, contrast, "
                f"reads and __call__, got {type(control).__name__}"
            )
    return controls


def reads_all(control: Control) -> bool:
    """Whether a control reads all neurons, however few the key neurons are."""
    return control.reads(1, 10**9) == 10**9
