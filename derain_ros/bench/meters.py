"""Memory and processor time of a process, memory of the GPU, and energy, as far as the machine reports them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from derain_ros.replay.measured import Usage

EVERY_S = 0.5
"""Seconds between two samples of a process."""


def resident_mb(statm: Path = Path("/proc/self/statm")) -> float:
    """Resident memory in MB, by default of this process; nan if the system does not report it."""
    try:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (OSError, ValueError, IndexError):
        return float("nan")


def processor_s(stat: Path = Path("/proc/self/stat")) -> float:
    """Processor time in seconds of all threads, by default of this process; nan if the system does not report it."""
    try:
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return float("nan")


class Meters:
    """Energy counters, and the GPU's memory in use.

    RAPL counts the energy of the processor's packages, NVML that of the first GPU. Both include other work.
    """

    def __init__(self, powercap: Path = Path("/sys/class/powercap"), nvml: Any = None) -> None:
        self._rapl = [zone for zone in sorted(powercap.glob("*rapl:*")) if zone.name.count(":") == 1]
        self._before: dict[Path, int] = {}
        self._turns: dict[Path, int] = {}
        self._nvml, self._gpu = (nvml or _nvml()), None
        if self._nvml is not None:
            with suppress(Exception):  # a missing driver, or one of another version, counts as no GPU
                self._nvml.nvmlInit()
                self._gpu = self._nvml.nvmlDeviceGetHandleByIndex(0)

    def joules(self) -> dict[str, float]:
        """Energy in joules since an arbitrary moment, of `processor` and `gpu`, as far as they are counted."""
        found: dict[str, float] = {}
        for zone in self._rapl:
            with suppress(OSError, ValueError):  # often only root may read it
                found["processor"] = found.get("processor", 0.0) + self._rapl_joules(zone)
        if self._gpu is not None:
            with suppress(Exception):  # GPUs before Volta do not count
                found["gpu"] = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._gpu) / 1e3
        return found

    def gpu_mb(self) -> float:
        """Memory of the GPU in use by any process, in MB; nan if there is no GPU."""
        if self._gpu is None:
            return float("nan")
        return float(self._nvml.nvmlDeviceGetMemoryInfo(self._gpu).used) / 1e6

    def _rapl_joules(self, zone: Path) -> float:
        """The zone's counter in joules, corrected for wraparounds to 0."""
        now = int((zone / "energy_uj").read_text())
        if now < self._before.get(zone, 0):
            self._turns[zone] = self._turns.get(zone, 0) + int((zone / "max_energy_range_uj").read_text())
        self._before[zone] = now
        return (now + self._turns.get(zone, 0)) / 1e6


@contextmanager
def watched(process: int, usage: list[Usage], meters: Meters | None = None) -> Iterator[None]:
    """While the context is open, append to `usage` what the process of this PID uses, every EVERY_S and at the end."""
    meters, ending = meters or Meters(), threading.Event()
    stat, statm = Path(f"/proc/{process}/stat"), Path(f"/proc/{process}/statm")
    begun, taken = time.monotonic(), processor_s(stat)

    def look() -> None:
        before_s, before = begun, taken
        while True:
            ended = ending.wait(EVERY_S)
            now_s, now = time.monotonic(), processor_s(stat)
            usage.append(Usage(now_s - begun, (now - before) / (now_s - before_s), resident_mb(statm), meters.gpu_mb()))
            before_s, before = now_s, now
            if ended:
                return

    thread = threading.Thread(target=look, name="derain meters")
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def _nvml() -> Any:
    """The module of nvidia-ml-py, or None if it is not installed."""
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml
