"""Extraction by several processes, one per device: started here, by torchrun or by Slurm."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from keyneurons.quiet import quiet_lightning

if TYPE_CHECKING:
    from lightning.fabric import Fabric

T = TypeVar("T")

_LAUNCHERS = frozenset({"TORCHELASTIC_RUN_ID", "SLURM_NTASKS"})
"""Variables by which Lightning recognises torchrun and Slurm."""


@dataclass(frozen=True)
class Processes:
    """One process per device, by the arguments of Lightning's trainers; one device needs no other.

    torchrun, or ``srun`` with several tasks, starts the processes before the program runs;
    otherwise ``launch`` starts them for one call.
    """

    accelerator: str = "auto"
    devices: int | str = 1
    num_nodes: int = 1

    @property
    def alone(self) -> bool:
        """Whether this process is the only one."""
        return str(self.devices) == "1" and self.num_nodes == 1

    @functools.cached_property
    def launched(self) -> bool:
        """Whether torchrun or Slurm started this process as one of several."""
        return not self.alone and several_were_started()

    @property
    def number(self) -> int:
        """Number of processes."""
        return 1 if self.alone else int(self._fabric.world_size)

    @property
    def first(self) -> bool:
        """Whether this process manages the files: it starts the others, or has rank 0."""
        return not self.launched or self._fabric.global_rank == 0

    def broadcast(self, value: T) -> T:
        """The value of the first process."""
        return self._fabric.broadcast(value) if self.launched else value

    def wait(self) -> None:
        """Wait for all processes that torchrun or Slurm started."""
        if self.launched:
            self._fabric.barrier()

    def launch(self, function: Callable[..., None], **arguments: Any) -> None:
        """Call a function in every process, with the process's Fabric as first argument.

        Raises:
            ValueError: raised in a process that this one started.
            OSError: raised in a process that this one started.
        """
        from torch.multiprocessing.spawn import ProcessRaisedException

        if self.launched:
            function(self._fabric, **arguments)
            self.wait()
            return
        try:
            with quiet_lightning():
                self._fabric.launch(functools.partial(function, **arguments))
        except ProcessRaisedException as error:
            kind, _, message = str(error).strip().splitlines()[-1].partition(": ")
            raise (OSError if kind == "OSError" else ValueError)(message or kind) from error
        finally:
            self.__dict__.pop("_fabric")  # a Fabric launches only once

    @functools.cached_property
    def _fabric(self) -> Fabric:
        """Lightning's Fabric for these processes.

        Raises:
            ValueError: the devices do not exist, or several machines are requested without torchrun
                or srun.
        """
        from lightning.fabric import Fabric
        from lightning.fabric.plugins.environments.lightning import LightningEnvironment
        from lightning.fabric.utilities.exceptions import MisconfigurationException

        if self.num_nodes > 1 and not self.launched:
            raise ValueError(
                f"activations.num_nodes={self.num_nodes} needs one process per device, started by torchrun or srun"
            )
        try:
            with quiet_lightning():
                fabric = Fabric(
                    accelerator=self.accelerator,
                    devices=self.devices,
                    num_nodes=self.num_nodes,
                    strategy="ddp" if self.launched else "ddp_spawn",
                    plugins=None if self.launched else [LightningEnvironment()],
                )
        except (ValueError, RuntimeError, MisconfigurationException) as error:
            raise ValueError(f"activations.devices={self.devices}: {' '.join(str(error).split())}") from error
        if self.launched:
            fabric.launch()
        return fabric


def several_were_started() -> bool:
    """Whether torchrun, or Slurm with several tasks, started this process."""
    if not _LAUNCHERS & os.environ.keys():
        return False  # without importing Lightning, which takes seconds
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    with quiet_lightning():
        if TorchElasticEnvironment.detect():
            return int(os.environ["WORLD_SIZE"]) > 1
        return SLURMEnvironment.detect() and int(os.environ.get("SLURM_NTASKS", "1")) > 1
