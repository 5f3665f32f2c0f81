"""Settles the anomalies of single frames over time: an alarm for each camera, and the kinds to restore for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from derain_ros.config import Config
from derain_ros.frame import Alarm, Anomaly
from derain_ros.runtime.input.instants import GAP_NS

AT_WORK, STAYS_AT_WORK = 0.35, 0.7
"""Probability from which a kind counts beside a stronger one once a view is affected, and the share of that below which
it no longer counts. On photographs behind drops in the rain, both kinds are found in 43 %; with 0.75 it would be 9 %.
None of those behind drops alone is taken for rain, and a fifth of those in rain alone is taken for wet."""
STAYS_SEVERE = 0.8
"""Share of the severity that raised the alarm below which it falls again."""


class Flag:
    """Rises when a value stays high and falls when it stays low, each for its hold time. Time must only rise."""

    def __init__(self) -> None:
        self.raised = False
        self._since_ns: int | None = None  # Since when the value has contradicted the flag.
        self._last_ns = 0

    def update(self, value: float, now_ns: int, on: float, off: float, on_hold_s: float, off_hold_s: float) -> bool:
        """The flag after a frame: up after `on_hold_s` of values of at least `on`, down after `off_hold_s` of values
        below `off`. After more than GAP_NS without frames the hold time starts again."""
        contrary = value < off if self.raised else value >= on
        if not contrary:
            self._since_ns = None
        elif self._since_ns is None or now_ns - self._last_ns > GAP_NS:
            self._since_ns = now_ns
        self._last_ns = now_ns
        hold_s = off_hold_s if self.raised else on_hold_s
        if self._since_ns is not None and now_ns - self._since_ns >= hold_s * 1e9:
            self.raised = not self.raised
            self._since_ns = None
        return self.raised


class Decision:
    """The alarms of all cameras, and the kinds of anomaly that both eyes are restored for."""

    def __init__(self) -> None:
        self._affected: defaultdict[str, Flag] = defaultdict(Flag)
        self._severe: defaultdict[str, Flag] = defaultdict(Flag)
        self._kinds: defaultdict[str, Flag] = defaultdict(Flag)
        self._worst, self._other = "clean", Flag()

    @property
    def affected(self) -> bool:
        """Whether any camera is affected."""
        return any(flag.raised for flag in self._affected.values())

    @property
    def kinds(self) -> set[str]:
        """The settled kinds of anomaly; where none is settled, the strongest one."""
        return {kind for kind, flag in self._kinds.items() if flag.raised} or {self._worst}

    def alarm(self, camera: str) -> Alarm:
        """The alarm of a camera; CLEAR for one that was never seen."""
        if camera not in self._affected or not self._affected[camera].raised:
            return Alarm.CLEAR
        return Alarm.SEVERE if self._severe[camera].raised else Alarm.AFFECTED

    def update(self, anomalies: Mapping[str, Anomaly], now_ns: int, config: Config) -> None:
        """Add the anomalies found in the frames of one instant. `now_ns` must only rise. `config` has the thresholds
        and hold times."""
        scores: defaultdict[str, float] = defaultdict(float)
        for camera, anomaly in anomalies.items():
            self._affected[camera].update(
                anomaly.score, now_ns, config.on_score, config.off_score, config.on_hold_s, config.off_hold_s
            )
            self._severe[camera].update(
                anomaly.severity,
                now_ns,
                config.severe,
                STAYS_SEVERE * config.severe,
                config.severe_hold_s,
                config.off_hold_s,
            )
            for kind, probability in {anomaly.kind: anomaly.score, **anomaly.probabilities}.items():
                scores[kind] = max(scores[kind], probability if anomaly.affected else 0.0)
        scores.pop("clean", None)
        for kind in {*scores, *self._kinds}:
            on = min(config.on_score, AT_WORK)
            self._kinds[kind].update(scores[kind], now_ns, on, STAYS_AT_WORK * on, config.on_hold_s, config.off_hold_s)
        worst = max(anomalies.values(), key=lambda anomaly: anomaly.score, default=None)
        # A new strongest kind must stay for the hold time, so that it does not flap.
        if (
            worst is not None
            and worst.affected
            and worst.kind != self._worst
            and (not self.affected or self._other.update(1.0, now_ns, 0.5, 0.5, config.on_hold_s, 0.0))
        ):
            self._worst = worst.kind
        if worst is None or worst.kind in ("clean", self._worst):
            self._other = Flag()
