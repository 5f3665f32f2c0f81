"""Keeps the account of a replay: every input frame and its result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from derain_ros.frame import Action


@dataclass(frozen=True)
class Output:
    """One output frame.

    `action` is an Action's value. `score` in [0, 1] says how surely the view is affected (NaN if the detector did not
    run). `flagged` says whether the frame was judged affected. `latency_ms` is the time from input to output. Unknown
    numbers are NaN and unknown texts empty. `age_ms` is the time from the frame's stamp to its output, the time of the
    recorded driver included. `alarm` is an Alarm's name in lower case, `plan` the plan that was run. `detect_ms`,
    `restore_ms` and `fuse_ms` are the times of these stages, `total_ms` the time of all stages until the frame was
    ready; it is fused after that. `severity` in [0, 1] says how much the view is impaired.
    """

    camera: str
    stamp_ns: int
    action: str
    flagged: bool
    score: float
    latency_ms: float
    age_ms: float = float("nan")
    alarm: str = ""
    plan: str = ""
    detect_ms: float = float("nan")
    restore_ms: float = float("nan")
    fuse_ms: float = float("nan")
    total_ms: float = float("nan")
    severity: float = float("nan")

    @property
    def transport_ms(self) -> float:
        """Latency outside of the pipeline: transport in and out, and waiting; NaN if not known."""
        return self.latency_ms - self.total_ms


def output_of(camera: str, stamp_ns: int, values: Mapping[str, str], latency_ms: float, age_ms: float) -> Output:
    """Make the output of a frame from the `values` of ~/status by name, which are empty if no status was received."""

    def known(name: str) -> float:
        return float(values.get(name, "nan"))

    return Output(
        camera,
        stamp_ns,
        values.get("action", "unknown"),
        values.get("kind", "unknown") not in ("clean", "unknown"),
        known("score"),
        latency_ms,
        age_ms,
        values.get("alarm", ""),
        values.get("plan", ""),
        known("detect_ms"),
        known("restore_ms"),
        known("fuse_ms"),
        known("total_ms"),
        known("severity"),
    )


@dataclass
class Account:
    """The input frames of each camera, the outputs, and what could not be used.

    `broken` counts images that could not be read, `damage` says where a damaged bag ended, `notes` are for the user.
    `plans` counts the restored frame sets by plan and models. `engines` names the engines in words. `fusion` counts
    the frame sets that were fused with thermal ones, and those that were not by the reason.

    Only a live replay sets these: `causes` counts the dropped frames by cause, `recorded_s` is the length of the
    recording without skipped pauses, `played_s` the time that playing took.
    """

    frames_in: Counter[str] = field(default_factory=Counter)
    outputs: list[Output] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)
    damage: str = ""
    notes: list[str] = field(default_factory=list)
    plans: Counter[tuple[str, str]] = field(default_factory=Counter)
    engines: str = ""
    fusion: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    recorded_s: float = float("nan")
    played_s: float = float("nan")

    def total(self, camera: str = "") -> dict[str, int]:
        """Count the frames `in`, `out`, `dropped`, `restored`, `passed on` and `broken`, of one camera or of all."""
        outputs = [o for o in self.outputs if camera in ("", o.camera)]
        went_in = sum(n for name, n in self.frames_in.items() if camera in ("", name))
        broken = sum(n for name, n in self.broken.items() if name in self.frames_in and camera in ("", name))
        restored = sum(o.action == Action.RESTORED.value for o in outputs)
        return {
            "in": went_in,
            "out": len(outputs),
            "dropped": went_in - broken - len(outputs),
            "restored": restored,
            "passed on": len(outputs) - restored,
            "broken": broken,
        }

    def reasons(self) -> dict[str, int]:
        """Count the outputs by action."""
        return dict(Counter(o.action for o in self.outputs))

    def latency_ms(self) -> tuple[float, float, float]:
        """Return the 50th, 95th and 99th percentile of the latency in milliseconds; NaN if there is no output."""
        return percentiles(o.latency_ms for o in self.outputs)

    def jitter_ms(self) -> list[float]:
        """Return by how many milliseconds each frame's latency differs from that of its camera's previous frame."""
        found = []
        for camera in self.frames_in:
            latency = [o.latency_ms for o in self.outputs if o.camera == camera]
            found += [abs(after - before) for before, after in pairwise(latency)]
        return found


def percentiles(values: Iterable[float]) -> tuple[float, float, float]:
    """Return the 50th, 95th and 99th percentile, ignoring NaN; NaN if nothing is left."""
    known = [v for v in values if not np.isnan(v)]
    if not known:
        return (float("nan"),) * 3
    p50, p95, p99 = np.percentile(known, (50, 95, 99))
    return float(p50), float(p95), float(p99)


@dataclass(frozen=True)
class Decisions:
    """Anomaly decisions of one camera, compared with the ground truth.

    `affected` and `clean` count frames by the ground truth. `hits` of the affected and `false_alarms` of the clean
    frames were flagged. `delays_s` is the time from each onset to the first flagged frame (inf if none was).
    """

    affected: int
    clean: int
    hits: int
    false_alarms: int
    delays_s: tuple[float, ...]


def judge(outputs: Iterable[Output], truth: dict[int, bool]) -> Decisions:
    """Compare one camera's outputs with the ground truth by stamp; frames without ground truth are ignored."""
    seen = sorted((o.stamp_ns, o.flagged, truth[o.stamp_ns]) for o in outputs if o.stamp_ns in truth)
    affected = [flagged for _, flagged, wet in seen if wet]
    clean = [flagged for _, flagged, wet in seen if not wet]
    delays, before = [], False
    stamps = sorted(truth)
    for k, stamp in enumerate(stamps):
        if truth[stamp] and not before:
            end = next((s for s in stamps[k:] if not truth[s]), stamps[-1] + 1)
            first = next((s for s, flagged, _ in seen if stamp <= s < end and flagged), None)
            delays.append(float("inf") if first is None else (first - stamp) / 1e9)
        before = truth[stamp]
    return Decisions(len(affected), len(clean), sum(affected), sum(clean), tuple(delays))
