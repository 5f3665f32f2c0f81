"""Sets up a process that runs the node and nothing else."""

from __future__ import annotations

import os
import sys

import cv2

from derain_ros.ros.memory import tune_malloc
from derain_ros.ros.transport import use_profile

SWITCH_S = 0.0005
"""Seconds after which a thread that computes lets another thread run."""
KERNELS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
"""The variable that says how many compiled kernels oneDNN, which is in OpenVINO, keeps for networks to come."""


def tune_process() -> None:
    """Tune memory, transport and threads; call before the first image and the first ROS context."""
    tune_malloc()
    use_profile()
    # oneDNN keeps 1024, and a network has its own: 150 MB that grow for an hour as sizes and networks change.
    os.environ.setdefault(KERNELS, "16")
    # Most calls of OpenCV here take less than a millisecond: its threads would spend more time waiting for each other.
    # Longer work runs for both eyes side by side.
    cv2.setNumThreads(1)
    # The worker must not wait 5 ms for the executor's thread, nor that one for the worker.
    sys.setswitchinterval(SWITCH_S)
