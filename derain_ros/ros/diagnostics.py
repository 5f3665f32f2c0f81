"""Counts what happens to every frame, and reports it once a second in /diagnostics."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from derain_ros.frame import Action, Alarm, CameraResult, Result
from derain_ros.ros.inputs import THERMAL

OK, WARN, ERROR, STALE = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE)
ALARMS = {Alarm.CLEAR: OK, Alarm.AFFECTED: WARN, Alarm.SEVERE: ERROR}
NOT_LOOKED_AT = ("unusable", Action.PASSED_ERROR.value, Action.PASSED_UNPAIRED.value)
"""Counts of frames that were not judged."""
LOOKED_AT = (Action.RESTORED, Action.PASSED_CLEAN, Action.PASSED_BUDGET, Action.PASSED_NO_PLAN)
"""What is done with frames that the detector has judged."""
_LATENCIES = 1000
_SILENT, _GAPS = 2.0, 20
"""A camera counts as silent after _SILENT times the longest of its last _GAPS gaps: slow cameras do not send a frame
between two reports."""


@dataclass(frozen=True)
class Health:
    """The state of the node for /diagnostics, apart from counts.

    `engine` is loading, ready, or failed and why. `hints` say what the user should change. `subscribed` is false while
    nobody wants an output. `failure` says why the node could not be configured; it is empty where it could."""

    state: str
    engine: str
    models: str
    enabled: bool
    affected: bool
    budget_ms: float
    hints: Sequence[str] = ()
    subscribed: bool = True
    failure: str = ""

    @property
    def listens(self) -> bool:
        """Whether frames should come."""
        return self.state == "active" and self.subscribed


class Statistics:
    """Counts of each camera and the last latencies; methods may be called from any thread.

    Every frame received of a camera is in the end published, dropped (a newer one took its place) or unusable; the rest
    is waiting. A frame that the middleware lost on the way was never received. Thermal frames are received or unusable.
    """

    def __init__(self, cameras: Sequence[str], thermal: bool = False) -> None:
        self._cameras = tuple(cameras)
        self._sources = (*cameras, *((THERMAL,) if thermal else ()))
        self._counts: dict[str, Counter[str]] = {source: Counter() for source in self._sources}
        self._before = {source: Counter[str]() for source in self._sources}
        self._last: dict[str, CameraResult] = {}
        self._silent_s = dict.fromkeys(self._sources, 0.0)
        self._gaps_s: dict[str, deque[float]] = {source: deque(maxlen=_GAPS) for source in self._sources}
        self._plans: Counter[str] = Counter()
        self._fusion = self._unfused = ""
        self._latency_ms: deque[float] = deque(maxlen=_LATENCIES)
        self._budget_misses = self._budget_misses_before = 0
        self._lock = threading.Lock()

    def count(self, camera: str, *what: str) -> None:
        """Add one to each of these counts of a camera."""
        with self._lock:
            self._counts[camera].update(what)

    def finish(self, latency_ms: float, missed_budget: bool) -> None:
        """Note how long a frame set took from its arrival to its last publication."""
        with self._lock:
            self._latency_ms.append(latency_ms)
            self._budget_misses += missed_budget

    def see(self, result: Result) -> None:
        """Note what was found and done in a frame set."""
        with self._lock:
            self._last |= result.cameras
            self._plans[result.plan] += 1
            self._fusion = result.fusion
            if result.fused is not None:
                self._counts[THERMAL]["fused"] += 1
            elif result.fusion:
                self._counts[THERMAL]["not_fused"] += 1
                self._unfused = result.fusion

    def counts(self, camera: str) -> Counter[str]:
        """A copy of a camera's counts since the node was made."""
        with self._lock:
            return Counter(self._counts[camera])

    def report(self, name: str, health: Health, seconds: float) -> list[DiagnosticStatus]:
        """The statuses of the node and of each camera; rates and warnings are of the `seconds` since the last report.

        `name` is the node's, the beginning of each status's name.
        """
        with self._lock:
            counts = {source: Counter(self._counts[source]) for source in self._sources}
            before, self._before = self._before, counts
            latency_ms, last = list(self._latency_ms), dict(self._last)
            plans, self._plans = self._plans, Counter()
            fusion, unfused = self._fusion, self._unfused
            misses, recent_misses = self._budget_misses, self._budget_misses - self._budget_misses_before
            self._budget_misses_before = misses
        recents = {
            source: Counter({key: n - before[source][key] for key, n in counts[source].items()})
            for source in self._sources
        }
        stale = {
            source: self._is_silent(source, recents[source]["received"] > 0, seconds if health.listens else 0.0)
            for source in self._sources
        }
        together = sum((recents[camera] for camera in self._cameras), Counter[str]())
        statuses = [
            _node_status(
                name,
                health,
                latency_ms,
                misses,
                recent_misses,
                plans,
                together,
                all(stale[camera] for camera in self._cameras),
            )
        ]
        for source in self._sources:
            status = _source_status(
                f"{name}: {source}", health, counts[source], recents[source], seconds, last.get(source), stale[source]
            )
            if source in self._cameras:
                status.values += _accounts(counts[source])
            else:
                _tell_of_fusion(status, fusion, unfused, counts[source], recents[source])
            statuses.append(status)
        return statuses

    def _is_silent(self, source: str, sent: bool, seconds: float) -> bool:
        """Whether a camera that has, or has not, `sent` frames in these seconds sends none any more."""
        if sent:
            self._gaps_s[source].append(self._silent_s[source])
            self._silent_s[source] = 0.0
            return False
        self._silent_s[source] += seconds
        # One report without a frame says nothing of a camera of about 1 Hz; all of them do.
        gaps_s = self._gaps_s[source]
        return not gaps_s or self._silent_s[source] > max(seconds, _SILENT * max(gaps_s))


def _node_status(
    name: str,
    health: Health,
    latency_ms: list[float],
    misses: int,
    recent_misses: int,
    plans: Counter[str],
    recent: Counter[str],
    silent: bool,
) -> DiagnosticStatus:
    level, message = OK, "restoring" if health.affected else "clean"
    # The flag means nothing where no frame was judged.
    amiss = ", ".join(f"{recent[key]} {key}" for key in NOT_LOOKED_AT if recent[key])
    if health.failure:
        level, message = ERROR, health.failure
    elif health.state != "active":
        message = health.state
    elif health.engine.startswith("failed"):
        level, message = ERROR, f"engine {health.engine}; frames are passed on untouched"
    elif not health.engine.startswith("ready"):
        level, message = WARN, f"engine {health.engine}; frames are passed on untouched"
    elif "is not used" in health.engine:
        level, message = WARN, f"engine {health.engine}"
    elif not health.enabled:
        message = "switched off; frames are passed on untouched"
    elif not health.subscribed:
        message = "nobody subscribes to an output, so the cameras are not subscribed to"
    elif silent:
        level, message = STALE, "no frames"
    elif amiss and not any(recent[action.value] for action in LOOKED_AT):
        level, message = ERROR, f"no frame could be judged: {amiss}"
    elif amiss:
        level, message = WARN, f"{message}; {amiss}"
    elif recent_misses:
        level, message = WARN, f"{recent_misses} frame sets missed the budget of {health.budget_ms:g} ms"
    if health.hints:
        level, message = max(level, WARN), "; ".join((message, *health.hints))
    p50, p95, p99 = np.percentile(latency_ms, (50, 95, 99)) if latency_ms else (np.nan,) * 3
    return DiagnosticStatus(
        name=name,
        level=level,
        message=message,
        hardware_id=name,
        values=_values(
            {
                "state": health.state,
                "engine": health.engine,
                "models": health.models,
                "enabled": health.enabled,
                "affected": health.affected,
                "subscribed": health.subscribed,
                "latency_p50_ms": f"{p50:.2f}",
                "latency_p95_ms": f"{p95:.2f}",
                "latency_p99_ms": f"{p99:.2f}",
                "budget_ms": health.budget_ms,
                "budget_misses": misses,
                "plans": ", ".join(f"{plan} {n}" for plan, n in plans.most_common()),
                "hints": "; ".join(health.hints),
            }
        ),
    )


def _source_status(
    name: str,
    health: Health,
    counts: Counter[str],
    recent: Counter[str],
    seconds: float,
    last: CameraResult | None,
    silent: bool,
) -> DiagnosticStatus:
    rate_in, rate_out = (f"{recent[key] / seconds:.1f}" for key in ("received", "published"))
    level, message = OK, f"{rate_in} Hz"
    if health.state == "active" and (silent or not health.subscribed):
        # The last frame is out of date.
        level, message, last = (STALE, "no frames", None) if health.subscribed else (OK, "not subscribed to", None)
    troubles = [
        f"{n} {key}"
        for key, n in sorted(recent.items())
        if n and (key in ("lost", "dropped", "unpaired", Action.PASSED_ERROR.value) or key.startswith("bad_"))
    ]
    if last is not None and last.alarm:
        level = ALARMS[last.alarm]
        # The last frame may have gone on without being judged; the alarm lasts.
        troubles.insert(
            0, "affected" if last.anomaly is None else f"{last.anomaly.kind}, {last.anomaly.coverage:.0%} of the view"
        )
    if troubles:
        level, message = max(level, WARN), f"{message}; {', '.join(troubles)}"
    return DiagnosticStatus(
        name=name,
        level=level,
        message=message,
        hardware_id=name,
        values=_values(
            {
                "rate_in_hz": rate_in,
                "rate_out_hz": rate_out,
                **_seen(last),
                **{key: counts[key] for key in ("received", "lost", "unusable")},
                **{key: n for key, n in counts.items() if key.startswith("bad_")},
            }
        ),
    )


def _tell_of_fusion(
    status: DiagnosticStatus, fusion: str, unfused: str, counts: Counter[str], recent: Counter[str]
) -> None:
    """Add to the thermal camera's status what came of its last image, and warn where most are `unfused`, and why."""
    if recent["not_fused"] > recent["fused"]:
        status.level, status.message = max(status.level, WARN), f"{status.message}; not fused: {unfused}"
    status.values += _values(
        {
            "fusion": fusion or "nobody subscribes to derained/fused",
            "fused": counts["fused"],
            "not_fused": counts["not_fused"],
        }
    )


def _seen(last: CameraResult | None) -> dict[str, object]:
    if last is None:
        return {}
    alarm: dict[str, object] = {"alarm": last.alarm.name.lower()}
    if last.anomaly is None:
        return alarm
    return {
        **alarm,
        "kind": last.anomaly.kind,
        "score": f"{last.anomaly.score:.3f}",
        "coverage": f"{last.anomaly.coverage:.4f}",
        "severity": f"{last.anomaly.severity:.3f}",
    }


def _accounts(counts: Counter[str]) -> list[KeyValue]:
    """Where a camera's frames went."""
    waiting = counts["received"] - counts["published"] - counts["dropped"] - counts["unusable"]
    return _values(
        {
            "waiting": waiting,
            **{key: counts[key] for key in ("published", "dropped", "unpaired", *(action.value for action in Action))},
        }
    )


def _values(values: Mapping[str, object]) -> list[KeyValue]:
    return [KeyValue(key=key, value=str(value)) for key, value in values.items()]
