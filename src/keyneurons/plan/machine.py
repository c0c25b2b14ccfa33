"""Free disk, memory and GPU memory of this machine."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Machine:
    """Free bytes on the disk of the cache, in memory, and on every GPU."""

    disk: int
    memory: int
    gpus: tuple[int, ...]

    @classmethod
    def current(cls, cache: Path) -> Machine:
        """This machine in its current state."""
        existing = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
        numbers = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
        free = tuple(int(torch.cuda.mem_get_info(number)[0]) for number in numbers)
        return cls(shutil.disk_usage(existing).free, _available_memory(), free)

    def gpu(self, device: str, *, spread: bool) -> int | None:
        """Free bytes on the model's GPU, or on all GPUs if ``spread``; None without that GPU."""
        number = int(device.partition(":")[2] or 0)
        if number >= len(self.gpus):
            return None
        return sum(self.gpus) if spread else self.gpus[number]


def _available_memory() -> int:
    """Bytes available without swapping, or all physical memory if the system does not report it."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
