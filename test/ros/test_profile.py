"""config/fastdds.xml: Fast DDS takes it, which it does not say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROFILE = Path(__file__).parents[2] / "config" / "fastdds.xml"
CODE = """if True:
    import rclpy
    rclpy.init()
    node = rclpy.create_node("segment")
    sizes = [0]
    for line in open("/proc/self/maps"):
        if "/dev/shm/fastrtps_" in line or "/dev/shm/fastdds_" in line:
            begin, end = (int(word, 16) for word in line.split()[0].split("-"))
            sizes.append(end - begin)
    print(max(sizes))
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not tell its mappings")
def test_images_fit_into_the_shared_memory_of_the_profile() -> None:
    def segment(**variables: str) -> int:
        environment = {key: value for key, value in os.environ.items() if "DEFAULT_PROFILES_FILE" not in key}
        done = subprocess.run(
            [sys.executable, "-c", CODE],
            env=environment | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return int(done.stdout)

    with_profile = segment(FASTRTPS_DEFAULT_PROFILES_FILE=str(PROFILE))
    if not with_profile and not segment():
        pytest.skip("this middleware uses no shared memory of Fast DDS")
    assert with_profile >= 16 << 20
