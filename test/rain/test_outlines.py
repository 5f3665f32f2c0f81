"""Outlines from masks, and drops that have them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from derain_ros.rain.drops import LensDrops
from derain_ros.rain.outlines import OutlineError, read_outlines
from derain_ros.rain.style import DropStyle


def test_whole_drops_are_cut_out(tmp_path: Path) -> None:
    mask = np.zeros((90, 160), np.uint8)
    mask[20:40, 30:40] = 255
    mask[60:80, 100:130] = 255
    mask[:20, 80:95] = 255  # cut by the border
    mask[50, 50] = 255  # a slip
    cv2.imwrite(str(tmp_path / "a.png"), mask)
    assert [outline.shape for outline in read_outlines(tmp_path)] == [(20, 10), (20, 30)]
    assert len(read_outlines(tmp_path, most=1)) == 1


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutlineError, match="no masks of drops"):
        read_outlines(tmp_path)
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(OutlineError, match="b.png"):
        read_outlines(tmp_path)


def test_drops_take_the_outline() -> None:
    """A square fills its box, which no melted ellipse does."""
    style = replace(
        DropStyle.draw(np.random.default_rng(0), "few"), radius=0.1, spread=0.0, defocus=0.0, film=0.0, running=0.0
    )

    def fullness(outlines: list[np.ndarray] | None) -> float:
        shape = (LensDrops(240, 320, np.random.default_rng(4), 0.05, style, outlines).alpha > 0.5).astype(np.uint8)
        boxes = cv2.connectedComponentsWithStats(shape)[2][1:]
        return max(float(b[4] / (b[2] * b[3])) for b in boxes if b[4] > 300)

    assert fullness([np.ones((30, 30), np.uint8)]) > 0.93 > 0.9 > fullness(None)
