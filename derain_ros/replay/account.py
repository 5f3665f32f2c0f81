"""Keeps the books of a replay: every frame that went in, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from derain_ros.frame import Action


@dataclass(frozen=True)
class Output:
    """One frame that came out: `action` is an Action's value, `score` in [0, 1] that the view is affected (nan where
    nothing looked), `flagged` whether that made the camera count as affected, `latency_ms` from in to out.

    What is not known is nan or empty: `age_ms` from the frame's stamp to its coming out, what the recorded driver took
    included; `alarm` is an Alarm's name in small letters, `plan` the plan that was run. `detect_ms`, `restore_ms` and
    `fuse_ms` are what these stages took, `total_ms` what all did until the frame was ready; it is fused after that.
    `severity` in [0, 1] is how much the view is hurt.
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
        """What the pipeline did not take: the ways in and out, and waiting; nan where that is not known."""
        return self.latency_ms - self.total_ms


def output_of(camera: str, stamp_ns: int, values: Mapping[str, str], latency_ms: float, age_ms: float) -> Output:
    """A frame that came out, with the `values` that ~/status tells of it, by name; empty where it was not heard."""

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
    """What went in (frames of each camera), what came out, and what could not be used.

    `broken` counts images that could not be read, `damage` says where a damaged bag ended, `notes` what else a person
    should know. `plans` counts the frame sets restored by each plan and its models, `engines` are those, in words.
    `fusion` counts the frame sets that were fused with thermal ones, and those that were not by the reason why.

    Of a live replay alone: `causes` counts the dropped frames by what became of them, `recorded_s` is how long the
    recording lasts, pauses that were not waited for left out, and `played_s` how long playing it took.
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
        """Numbers of frames `in`, `out`, `dropped`, `restored`, `passed on`, `broken`; of one camera or of all."""
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
        """How often each action was taken."""
        return dict(Counter(o.action for o in self.outputs))

    def latency_ms(self) -> tuple[float, float, float]:
        """50th, 95th and 99th percentile of the latency; nan where nothing came out."""
        return percentiles(o.latency_ms for o in self.outputs)

    def jitter_ms(self) -> list[float]:
        """By how much the latency of each frame differs from that of its camera's frame before."""
        found = []
        for camera in self.frames_in:
            latency = [o.latency_ms for o in self.outputs if o.camera == camera]
            found += [abs(after - before) for before, after in pairwise(latency)]
        return found


def percentiles(values: Iterable[float]) -> tuple[float, float, float]:
    """50th, 95th and 99th percentile, nan left out."""
    known = [v for v in values if not np.isnan(v)]
    if not known:
        return (float("nan"),) * 3
    p50, p95, p99 = np.percentile(known, (50, 95, 99))
    return float(p50), float(p95), float(p99)


@dataclass(frozen=True)
class Decisions:
    """Anomaly decisions of one camera against the truth.

    `affected` and `clean` frames by the truth; `hits` of the affected and `false_alarms` of the clean were flagged;
    `delays_s` is how long after each onset the first frame was flagged (inf where none was).
    """

    affected: int
    clean: int
    hits: int
    false_alarms: int
    delays_s: tuple[float, ...]


def judge(outputs: Iterable[Output], truth: dict[int, bool]) -> Decisions:
    """Compare one camera's outputs with the truth by stamp; frames without truth are left out."""
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
