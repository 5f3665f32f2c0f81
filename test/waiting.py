"""Waiting for what a thread or another process does, however busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 120.0
"""What takes longer than this has failed: on a busy machine a second of work may take a minute."""


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of `condition`; fails, naming `what`, where none comes."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.002)
    return pytest.fail(f"waited {PATIENCE_S:g} s for {what}")


def is_running(pid: int) -> bool:
    """Whether a process, of whatever parent, still runs; one that has ended may be there until its parent looks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
