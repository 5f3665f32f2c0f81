"""A middleware without security never runs the node in the open where security is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NODE = "import sys; from derain_ros.ros.node import main; sys.exit(main(['--ros-args', '--enclave', '/derain']))"


@pytest.mark.skipif(os.environ.get("ROS_DISTRO") is not None, reason="a ROS 2 that is sourced may have security")
@pytest.mark.parametrize("strategy", ["Enforce", "Permissive"])
def test_wheels_without_security_do_not_start_the_node_and_say_why(tmp_path: Path, strategy: str) -> None:
    (tmp_path / "enclaves" / "derain").mkdir(parents=True)
    asked = {
        "ROS_SECURITY_ENABLE": "true",
        "ROS_SECURITY_STRATEGY": strategy,
        "ROS_SECURITY_KEYSTORE": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", NODE], env=os.environ | asked, capture_output=True, text=True, timeout=120
    )
    told = done.stdout + done.stderr
    assert done.returncode == 1 and "doesn't have the security libraries" in told, told
    assert "Traceback" not in told
