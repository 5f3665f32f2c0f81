"""Log messages of the library and of each camera, sent to the log of ROS."""

from __future__ import annotations

import logging
import math
import time

from rclpy.impl.rcutils_logger import RcutilsLogger

REPEATED_S = 5.0
"""Seconds between two warnings, or two errors, of one camera."""


class RosLogHandler(logging.Handler):
    """Hands what the library logs to a node's logger, and so to the console and to /rosout."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record at the severity it has."""
        message = self.format(record)
        # One call site for each severity: rclpy refuses another severity from a known one.
        if record.levelno >= logging.ERROR:
            self._logger.error(message)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(message)
        elif record.levelno >= logging.INFO:
            self._logger.info(message)
        else:
            self._logger.debug(message)


class CameraLog:
    """Logs warnings and errors of a camera or a topic, for each of them at most once in REPEATED_S.

    rclpy's own throttle counts by the line of code that logs, which all cameras share.
    """

    def __init__(self, logger: RcutilsLogger) -> None:
        self._logger = logger
        self._logged_s: dict[tuple[str, str], float] = {}

    def warning(self, camera: str, text: str) -> None:
        """Log a warning about a camera."""
        if self._due("warning", camera):
            self._logger.warning(f"{camera}: {text}")

    def error(self, camera: str, text: str) -> None:
        """Log an error of a camera; warnings do not hold it back."""
        if self._due("error", camera):
            self._logger.error(f"{camera}: {text}")

    def _due(self, severity: str, camera: str) -> bool:
        now_s = time.monotonic()
        due = now_s - self._logged_s.get((severity, camera), -math.inf) >= REPEATED_S
        if due:
            self._logged_s[severity, camera] = now_s
        return due
