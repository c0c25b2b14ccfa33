"""Several processes that share an extraction: the GPUs of this machine, or of several under torchrun or Slurm."""

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


@dataclass(frozen=True)
class Processes:
    """One process for each device, by the arguments of Lightning's trainers; one device is this process.

    Under torchrun, or ``srun`` with several tasks, they are there already and each calls what it finds here; else they
    are started for as long as they are needed.
    """

    accelerator: str = "auto"
    devices: int | str = 1
    num_nodes: int = 1

    @property
    def alone(self) -> bool:
        """Whether this process does all."""
        return str(self.devices) == "1" and self.num_nodes == 1

    @functools.cached_property
    def launched(self) -> bool:
        """Whether torchrun or Slurm has started this process as one of several."""
        return not self.alone and several_were_started()

    @property
    def number(self) -> int:
        """How many there are."""
        return 1 if self.alone else int(self._fabric.world_size)

    @property
    def first(self) -> bool:
        """Whether this process creates and admits files: the one that starts the others, or rank 0."""
        return not self.launched or self._fabric.global_rank == 0

    def agree(self, value: T) -> T:
        """What the first process says."""
        return self._fabric.broadcast(value) if self.launched else value

    def wait(self) -> None:
        """Until all that were there from the start have come here."""
        if self.launched:
            self._fabric.barrier()

    def share(self, function: Callable[..., None], **arguments: Any) -> None:
        """Call a function in every process, with the process's Fabric in front of the arguments.

        Raises:
            ValueError: it was raised in a process that was started here.
            OSError: likewise.
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
            kind, _, told = str(error).strip().splitlines()[-1].partition(": ")
            raise (OSError if kind == "OSError" else ValueError)(told or kind) from error
        finally:
            self.__dict__.pop("_fabric")  # each starts its processes once

    @functools.cached_property
    def _fabric(self) -> Fabric:
        """Lightning's hold on the processes.

        Raises:
            ValueError: there are no such devices, or other machines are wanted and nobody has started processes there.
        """
        from lightning.fabric import Fabric
        from lightning.fabric.plugins.environments.lightning import LightningEnvironment
        from lightning.fabric.utilities.exceptions import MisconfigurationException

        if self.num_nodes > 1 and not self.launched:
            raise ValueError(
                f"activations.num_nodes={self.num_nodes} needs a process for each device, started by torchrun or srun"
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
    """Whether torchrun, or Slurm with several tasks, has started this process."""
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    with quiet_lightning():
        if TorchElasticEnvironment.detect():
            return int(os.environ["WORLD_SIZE"]) > 1
        return SLURMEnvironment.detect() and int(os.environ.get("SLURM_NTASKS", "1")) > 1
