"""Measurements while a bag plays: the node's use of resources, and its results at one speed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """The node's use of resources `seconds` after the start of the bag.

    `cores` is the processor use since the previous measurement: 1 is one full core. `memory_mb` is the node's own
    memory, `gpu_mb` the GPU memory used by all processes. Unknown values are NaN.
    """

    seconds: float
    cores: float
    memory_mb: float
    gpu_mb: float


@dataclass(frozen=True)
class AtRate:
    """One playback of the bag at `rate` times its recorded speed, with `hertz` frames per second of each camera.

    `reached` is the speed that the player reached. Of `frames_in`, `dropped` did not come back, and `over_budget` were
    passed on because of the budget. `p50_ms` and `p99_ms` are percentiles of the latency, NaN without outputs.
    `no_loss` says that both are 0 and the player kept up with the requested speed.
    """

    rate: float
    hertz: float
    reached: float
    frames_in: int
    dropped: int
    over_budget: int
    p50_ms: float
    p99_ms: float
    no_loss: bool
