"""The README's example does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_models import BRIGHTER_BY, MASKED_ABOVE, write_models

README = Path(__file__).parents[1] / "README.md"


def test_the_example_for_a_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    models = write_models(tmp_path / "models")
    monkeypatch.setattr("derain_ros.manifest.model_dir", lambda: models)
    monkeypatch.chdir(tmp_path)
    wet = np.full((48, 64), 150, np.uint8)
    wet[10:20] = MASKED_ABOVE + 10
    cv2.imwrite("wet.png", wet)
    exec(compile(code, str(README), "exec"), {})
    assert capsys.readouterr().out == "restored raindrop 0.95\n"
    assert np.array_equal(cv2.imread("restored.png", cv2.IMREAD_GRAYSCALE), wet + BRIGHTER_BY)
    assert np.array_equal(cv2.imread("mask.png", cv2.IMREAD_GRAYSCALE), (wet > MASKED_ABOVE) * 255)


def test_the_example_ends_well_though_networks_are_still_being_loaded(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    picture = cv2.imread(str(README.with_name("docs") / "before_after.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(tmp_path / "wet.png"), picture[:375, :500])
    # With the shipped models and an empty cache there is much to load and to measure after the first frame.
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "DERAIN_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode == 0 and done.stdout.startswith("restored raindrop"), done.stderr
