"""Sets up a process that runs the node and nothing else."""

from __future__ import annotations

import sys

import cv2

from derain_ros.ros.memory import tune_malloc
from derain_ros.ros.transport import use_profile

SWITCH_S = 0.0005
"""Seconds after which a thread that computes lets another thread run."""


def tune_process() -> None:
    """Tune memory, transport and threads; call before the first image and the first ROS context."""
    tune_malloc()
    use_profile()
    # Most calls of OpenCV here take less than a millisecond: its threads would spend more time waiting for each other.
    # Longer work runs for both eyes side by side.
    cv2.setNumThreads(1)
    # The worker must not wait 5 ms for the executor's thread, nor that one for the worker.
    sys.setswitchinterval(SWITCH_S)
