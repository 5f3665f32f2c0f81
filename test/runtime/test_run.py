from __future__ import annotations

import time

import numpy as np
import pytest

from derain_ros.frame import Action, Anomaly, Frame, FrameSet
from derain_ros.runtime.judge.decision import Decision
from derain_ros.runtime.run import Run


@pytest.mark.parametrize(("cells", "size", "edges"), [
    ((68, 90), (540, 720), (8 * 67, 8 * 89)), ((68, 90), (1080, 1440), (16 * 67, 16 * 89)),
    ((4, 6), (8, 12), (6, 10)), ((34, 46), (540, 720), (540 * 33 / 34, 720 * 45 / 46)),
    ((68, 90), (375, 1242), (375 * 67 / 68, 1242 * 89 / 90))],
    ids=["half a row outside", "twice as large", "whole rows", "no square cells", "another shape"])
def test_the_detectors_cells_are_where_it_saw_them(cells: tuple[int, int], size: tuple[int, int],
                                                   edges: tuple[float, float]) -> None:
    mask = np.zeros(cells, np.uint8)
    mask[-1, -1] = 255
    run = Run(FrameSet({"eye": Frame(np.zeros(size, np.uint8))}), Decision(), time.monotonic_ns)
    run.anomalies = {"eye": Anomaly("raindrop", 1.0, 0.1, mask)}
    found = run.passed(Action.PASSED_BUDGET).cameras["eye"].mask
    assert found.shape == size and found.flags.c_contiguous
    top, left = (int(where.min()) for where in np.nonzero(found))
    assert (top, left) == pytest.approx(edges, abs=1) and found[top:, left:].all()
