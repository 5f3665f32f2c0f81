"""The hardware and software that engines need: processor, NVIDIA GPUs, libraries."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from derain_ros import __version__

INSTALL = {
    "onnxruntime": "pip install 'derain_ros[cpu]'",
    "onnxruntime-cuda": "pip install 'derain_ros[gpu]'",
    "onnxruntime-tensorrt": "pip install 'derain_ros[gpu]'",
    "openvino": "pip install 'derain_ros[cpu]'",
    "openvino-gpu": "pip install 'derain_ros[cpu]', and Intel's compute runtime for the GPU",
    "tensorrt": "pip install 'derain_ros[gpu]'; on a Jetson, TensorRT is part of JetPack",
}
"""How to install each engine."""

LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "cuda-bindings")


def physical_cores(topology: Path = Path("/sys/devices/system/cpu")) -> list[int]:
    """Return one usable logical CPU per physical core: a second thread on a core only slows a network down."""
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    first_of_core: dict[str, int] = {}
    for cpu in usable:
        try:
            core = (topology / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text()
        except OSError:
            core = str(cpu)
        first_of_core.setdefault(core, cpu)
    return list(first_of_core.values())


def processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name, else that of the board, else that of the architecture."""
    for line in _read(info).splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    # ARM boards state their name here.
    board = _read(Path("/proc/device-tree/model")).rstrip("\0\n")
    return board or platform.machine()


def nvidia_gpus(proc: Path = Path("/proc/driver/nvidia/gpus")) -> list[str]:
    """Return the names of the NVIDIA GPUs that the driver lists; a Jetson's own GPU is not among them."""
    names = []
    for information in sorted(proc.glob("*/information")):
        lines = [line.partition(":")[2].strip() for line in _read(information).splitlines() if line.startswith("Model")]
        names += lines[:1]
    return names


def has_nvidia_device(dev: Path = Path("/dev")) -> bool:
    """Whether a driver of an NVIDIA GPU is loaded: of a card, of a Jetson, or under WSL."""
    return any((dev / name).exists() for name in ("nvidiactl", "nvhost-ctrl-gpu", "nvgpu", "dxg"))


def versions() -> dict[str, str]:
    """Return the versions of the installed LIBRARIES by name."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def this_machine(threads: int = 0) -> dict[str, object]:
    """Describe what measurements depend on, by name.

    These are the version of this package, processor, cores, threads of the networks (0 for every core), GPUs,
    libraries and the load average over one minute (NaN if the system does not report it).
    """
    try:
        load = float(Path("/proc/loadavg").read_text().split()[0])
    except (OSError, ValueError):
        load = float("nan")
    return {
        "derain_ros": __version__,
        "processor": processor(),
        "cores": len(physical_cores()),
        "threads": threads,
        "gpus": nvidia_gpus(),
        "libraries": versions(),
        "load_average": load,
    }


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
