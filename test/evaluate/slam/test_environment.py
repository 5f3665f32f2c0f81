"""Which Python runs ORB-SLAM3, and what is said where it cannot."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from derain_ros.evaluate.restoration import EvaluationError
from derain_ros.evaluate.slam.environment import LIBRARIES, PACKAGE, VARIABLE, interpreter, own_environment


def test_a_python_without_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    told: list[str] = []
    # ORB-SLAM3 is under another licence: the package's own environment does not have it.
    with pytest.raises(EvaluationError, match="No module named 'pyorbslam3'") as error:
        interpreter(Path(sys.executable), told.append)
    assert f"pip install {PACKAGE}" in str(error.value) and LIBRARIES in str(error.value) and not told


def test_the_variable_names_one_and_the_option_goes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(EvaluationError, match=f"{tmp_path}/nowhere: cannot run ORB-SLAM3: .*No such file"):
        interpreter(None, print)
    with pytest.raises(EvaluationError, match=sys.executable):
        interpreter(Path(sys.executable), print)


def test_the_own_environment_lies_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DERAIN_CACHE", str(tmp_path))
    assert own_environment() == tmp_path / "slam/bin/python"


def test_what_cannot_be_installed_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "file").touch()
    monkeypatch.setenv("DERAIN_CACHE", str(tmp_path / "file"))
    told: list[str] = []
    with pytest.raises(EvaluationError, match="could not be installed .*--slam-python"):
        interpreter(None, told.append)
    assert len(told) == 1 and "GPL" in told[0]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="venv does not refuse a place with a colon")
def test_one_that_was_killed_on_the_way_is_made_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("DERAIN_CACHE", str(tmp_path / "a:b"))
    own = own_environment()
    own.parent.mkdir(parents=True)
    own.symlink_to(sys.executable)  # and then pip was not run
    told: list[str] = []
    # It is tried; in that place it cannot be made, as no PATH can hold it.
    with pytest.raises(EvaluationError, match="could not be installed .*PATH separator"):
        interpreter(None, told.append)
    assert len(told) == 1 and not own.exists()
    # One that is whole is taken as it is.
    own.parent.mkdir(parents=True)
    own.symlink_to(sys.executable)
    (own.parents[1] / "whole").touch()
    with pytest.raises(EvaluationError, match="No module named 'pyorbslam3'"):
        interpreter(None, told.append)
    assert len(told) == 1
