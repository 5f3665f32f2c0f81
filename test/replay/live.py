"""Runs `derain` in a process of its own, as live replay needs: the transport profile is read once per process."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    """Discovery within this machine and in a domain of its own."""
    ours = {
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_DOMAIN_ID": str(random.randint(1, 101)),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    return {**{k: v for k, v in os.environ.items() if k != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}, **ours}


def start(*arguments: object, first: str = "", **options: object) -> subprocess.Popen[str]:
    """Start `derain` with these arguments, after the code `first`."""
    return subprocess.Popen(
        [sys.executable, "-c", f"{first}\nfrom derain_ros.cli.main import app; app()", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        **options,
    )


def derain(*arguments: object, first: str = "") -> tuple[int, str, str]:
    """Exit code, output and errors of `derain` with these arguments, run after the code `first`."""
    process = start(*arguments, first=first)
    try:
        out, err = process.communicate(timeout=600)
    except BaseException:
        process.kill()
        raise
    return process.returncode, out, err
