from __future__ import annotations

import logging

import pytest

from derain_ros.ros.log import RosLogHandler


class Logger:
    """Keeps severities and texts."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, severity: str) -> object:
        return lambda text: self.lines.append((severity, text))


@pytest.mark.parametrize("severity", ["debug", "info", "warning", "error"])
def test_a_record_keeps_its_severity(severity: str) -> None:
    logger = Logger()
    library = logging.Logger("library", logging.DEBUG)
    library.addHandler(RosLogHandler(logger))  # type: ignore[arg-type]
    getattr(library, severity)("%d engines", 2)
    assert logger.lines == [(severity, "2 engines")]
