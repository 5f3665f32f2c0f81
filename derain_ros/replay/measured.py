"""What is measured while a bag plays: what the node takes, and how it fares at a speed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """What the node took `seconds` after the bag began: `cores` of the processor since the moment before, 1 is one of
    them wholly; memory of its own, and of the GPU by anyone, nan where that is not known."""

    seconds: float
    cores: float
    memory_mb: float
    gpu_mb: float


@dataclass(frozen=True)
class AtRate:
    """The bag played once at `rate` times its recorded speed, which made `hertz` frames a second of each camera.

    `reached` is the speed that the player came to. Of `frames_in`, `dropped` did not come back and `over_budget` came
    back unrestored for want of time. Percentiles of the latency in milliseconds, nan where nothing came. `no_loss` says
    that there was neither, at the speed asked for.
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
