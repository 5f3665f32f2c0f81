from __future__ import annotations

import math
import mmap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from derain_ros.bench.meters import Meters, resident_mb


def zone(place: Path, name: str, microjoules: int) -> Path:
    folder = place / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text("1000000000\n")
    return folder


def test_packages_are_summed_and_wrapped_counters_go_on(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", 999_000_000)
    zone(tmp_path, "intel-rapl:1", 5_000_000)
    zone(tmp_path, "intel-rapl:0:0", 77_000_000)  # the cores, a part of package 0
    meters = Meters(tmp_path, _none())
    begun = meters.joules()["processor"]
    assert begun == 1004.0
    zone(tmp_path, "intel-rapl:0", 2_000_000)
    zone(tmp_path, "intel-rapl:1", 6_000_000)
    assert meters.joules()["processor"] - begun == 4.0


def test_without_counters_there_is_no_energy(tmp_path: Path) -> None:
    meters = Meters(tmp_path, _none())
    assert meters.joules() == {} and math.isnan(meters.gpu_mb())
    zone(tmp_path, "intel-rapl:0", 1)
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    assert Meters(tmp_path, _none()).joules() == {}


def test_the_gpu_counts_in_millijoules(tmp_path: Path) -> None:
    nvml: Any = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: "gpu",
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: 2500,
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=3_000_000),
    )
    meters = Meters(tmp_path, nvml)
    assert meters.joules() == {"gpu": 2.5} and meters.gpu_mb() == 3.0


def test_memory_grows_with_what_is_held() -> None:
    before = resident_mb()
    held = mmap.mmap(-1, 64 << 20)  # never a piece that was freed before
    for page in range(0, len(held), mmap.PAGESIZE):
        held[page] = 1
    assert resident_mb() - before > 40
    assert math.isnan(resident_mb(Path("/nowhere")))


def _none() -> Any:
    """NVML without a driver."""

    def fail() -> None:
        raise RuntimeError("no driver")

    return SimpleNamespace(nvmlInit=fail)
