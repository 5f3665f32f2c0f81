from __future__ import annotations

import logging
import math
from collections.abc import Callable

import pytest
from ros_bench import Bench
from sensor_msgs.msg import Image

from derain_ros.ros import log
from derain_ros.ros.log import CameraLog, RosLogHandler


class Logger:
    """Keeps severities and texts."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, severity: str) -> object:
        return lambda text: self.lines.append((severity, text))


@pytest.mark.parametrize("severity", ["debug", "info", "warning", "error"])
def test_a_record_keeps_its_severity(severity: str) -> None:
    logger = Logger()
    library = logging.Logger("library", logging.DEBUG)  # noqa: LOG001  # kept from the other tests
    library.addHandler(RosLogHandler(logger))  # type: ignore[arg-type]
    getattr(library, severity)("%d engines", 2)
    assert logger.lines == [(severity, "2 engines")]


def test_each_camera_is_told_of_however_the_others_fare(monkeypatch: pytest.MonkeyPatch) -> None:
    logger, now_s = Logger(), 1000.0
    monkeypatch.setattr(log.time, "monotonic", lambda: now_s)
    cameras = CameraLog(logger)  # type: ignore[arg-type]
    for _ in range(3):
        cameras.warning("left", "no image")
        cameras.warning("right", "no image either")
        cameras.error("left", "not published")
    first = [("warning", "left: no image"), ("warning", "right: no image either"), ("error", "left: not published")]
    assert logger.lines == first
    now_s += log.REPEATED_S
    cameras.warning("right", "still none")
    assert logger.lines == [*first, ("warning", "right: still none")]


def test_the_node_tells_of_each_camera_once_in_a_while(
    start: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(log, "REPEATED_S", math.inf)
    bench = start(thermal=True).ready()
    for _ in range(3):
        for camera in (*bench.cameras, "thermal"):
            bench.send(camera, Image(encoding="mono8"))
    told = capfd.readouterr().err
    assert [told.count(f"[derain]: {camera}: ") for camera in (*bench.cameras, "thermal")] == [1, 1, 1]
