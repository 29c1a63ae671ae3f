"""Memory of the process on the host or on a card: highest since the last reset, at present, and free."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Protocol

import torch

from simulacra.callbacks.throughput import peak_memory_gib

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Limit and usage of a container, of either version of control groups."""


class Memory(Protocol):
    """What a measurement asks of a device; all in bytes."""

    def reset(self) -> None:
        """Forget the highest use so far."""

    def peak(self) -> int:
        """Highest use since the last reset."""
        raise NotImplementedError

    def used(self) -> int:
        """Use at present."""
        raise NotImplementedError

    def free(self) -> int:
        """What could still be used."""
        raise NotImplementedError


class HostMemory:
    """Resident memory of this process; without Linux's files the peak is that since its start."""

    def reset(self) -> None:
        """Set the high-water mark to the present use (man 5 proc, ``clear_refs``)."""
        if os.access(CLEAR, os.W_OK):
            CLEAR.write_text("5")

    def peak(self) -> int:
        """The high-water mark."""
        found = self._status("VmHWM")
        return round(peak_memory_gib() * 2**30) if found is None else found

    def used(self) -> int:
        """Resident memory."""
        found = self._status("VmRSS")
        return self.peak() if found is None else found

    def free(self) -> int:
        """Available memory of the machine, or what a container's limit leaves of it."""
        pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        found = [_kilobytes(Path("/proc/meminfo"), "MemAvailable") or pages]
        for limit, usage in LIMITS:
            values = [
                Path(name).read_text().strip() for name in (limit, usage) if Path(name).is_file()
            ]
            if len(values) == 2 and values[0] != "max":
                found.append(max(0, int(values[0]) - int(values[1])))
        return min(found)

    @staticmethod
    def _status(key: str) -> int | None:
        return _kilobytes(STATUS, key)


class CudaMemory:
    """Memory that torch has allocated on a card.

    Args:
        device: The card.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def reset(self) -> None:
        """Set the high-water mark to the present use."""
        torch.cuda.reset_peak_memory_stats(self.device)

    def peak(self) -> int:
        """Highest allocation."""
        return int(torch.cuda.max_memory_allocated(self.device))

    def used(self) -> int:
        """Present allocation."""
        return int(torch.cuda.memory_allocated(self.device))

    def free(self) -> int:
        """Free on the card, and what torch holds in reserve."""
        reserve = torch.cuda.memory_reserved(self.device) - self.used()
        return int(torch.cuda.mem_get_info(self.device)[0]) + reserve


def memory_of(device: torch.device) -> Memory:
    """The memory that generating on a device needs."""
    return CudaMemory(device) if device.type == "cuda" else HostMemory()


def _kilobytes(path: Path, key: str) -> int | None:
    """An entry of a file of ``/proc`` in bytes, or None where there is no such file or entry."""
    if not path.is_file():
        return None
    found = re.search(rf"^{key}:\s+(\d+) kB", path.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else None
