"""What this machine has free at the moment."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Machine:
    """Bytes free on the disk of the cache, in memory, and on every GPU."""

    disk: int
    memory: int
    gpus: tuple[int, ...]

    @classmethod
    def here(cls, cache: Path) -> Machine:
        """This machine as it is now."""
        there = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
        numbers = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
        free = tuple(int(torch.cuda.mem_get_info(number)[0]) for number in numbers)
        return cls(shutil.disk_usage(there).free, _available_memory(), free)

    def gpu(self, device: str, *, spread: bool) -> int | None:
        """Bytes free on the GPU of a model, or on all of them if it is spread; None if there is no such GPU."""
        number = int(device.partition(":")[2] or 0)
        if number >= len(self.gpus):
            return None
        return sum(self.gpus) if spread else self.gpus[number]


def _available_memory() -> int:
    """Bytes that a process can have without swapping; where the system does not say, all that there are."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
