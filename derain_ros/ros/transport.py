"""Sees to it that Fast DDS carries images whole."""

from __future__ import annotations

import os
from contextlib import suppress

from derain_ros.resources import default_file

PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE"


def use_profile() -> None:
    """Take the shipped profile, unless the user has chosen one or another middleware; before the first ROS context."""
    if PROFILE in os.environ or "fastrtps" not in os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp"):
        return
    # Where the installation is incomplete images get lost, as `derain doctor` says; small ones arrive.
    with suppress(FileNotFoundError):
        os.environ[PROFILE] = str(default_file("fastdds.xml"))
