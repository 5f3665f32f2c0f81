"""The anomaly flag: debounced in time, so that it does not flap."""

from __future__ import annotations

from derain_ros.config import Config


class AnomalyFlag:
    """Rises when the score stays high, falls when it stays low, each for its hold time; time is that of the stamps."""

    def __init__(self) -> None:
        self.raised = False
        self._since_ns: int | None = None  # Since when the score has spoken against the flag without a break.
        self._last_ns = 0

    def update(self, score: float, stamp_ns: int, config: Config) -> bool:
        """The flag after a frame of this `score` in [0, 1] and stamp; thresholds and hold times are the config's.

        Where stamps jump back, the flag stays as it is and the hold time starts again.
        """
        contrary = score < config.off_score if self.raised else score >= config.on_score
        if not contrary:
            self._since_ns = None
        elif self._since_ns is None or stamp_ns < self._last_ns:
            self._since_ns = stamp_ns
        self._last_ns = stamp_ns
        hold_s = config.off_hold_s if self.raised else config.on_hold_s
        if self._since_ns is not None and stamp_ns - self._since_ns >= hold_s * 1e9:
            self.raised = not self.raised
            self._since_ns = None
        return self.raised
