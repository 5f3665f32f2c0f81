"""What the tests of examples that run beside a node share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ros_bench import at_ms, wait_for

PAIRS = 100


def send_until_restored(bench: Any, *pixels: np.ndarray, **arguments: Any) -> float:
    """Send the same images again until the node restores them; the stamp in milliseconds of the pair it restored."""
    for ms in range(0, 50 * PAIRS, 50):
        bench.send_pair(ms, *pixels, **arguments)
        if all(status.message == "restored" for status, _ in bench.wait_status(ms).values()):
            return ms
    return pytest.fail(f"none of {PAIRS} pairs was restored")


def message_at(messages: list[Any], ms: float, what: str) -> Any:
    """The message of this stamp, once it is there."""
    return wait_for(lambda: [message for message in messages if at_ms(message) == ms], f"{what} of {ms} ms")[0]
