"""Motion between frames: found where the view is free, completed behind what stands still on the glass."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from derain_ros.runtime.motion import Motion, complete


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """A texture to look around in, (300, 400) uint8."""
    rng = np.random.default_rng(2)
    noise = cv2.GaussianBlur(rng.standard_normal((300, 400)).astype(np.float32), (0, 0), 3)
    return cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def window(scene: np.ndarray, x: int, y: int) -> np.ndarray:
    return np.ascontiguousarray(scene[y:y + 120, x:x + 160])


def test_a_pan_is_found_behind_a_drop_that_stands_still(scene: np.ndarray) -> None:
    motion = Motion()
    hidden = np.zeros((120, 160), np.uint8)
    cv2.circle(hidden, (80, 60), 22, 255, -1)
    for step in range(1, 4):
        before, now = (window(scene, 40 + 3 * n, 50 + 2 * n) for n in (step - 1, step))
        # What a restorer leaves there: a guess.
        now[hidden > 0] = cv2.GaussianBlur(now, (0, 0), 5)[hidden > 0]
        maps = motion.maps(now, before, hidden)
        y, x = np.indices(hidden.shape)
        away = maps - np.dstack([x, y])
        for where in (hidden > 0, hidden == 0):
            inner = where & (x > 12) & (x < 148) & (y > 12) & (y < 108)
            assert np.median(away[inner], axis=0) == pytest.approx([3, 2], abs=0.3)
            assert np.quantile(np.hypot(*(away[inner] - [3, 2]).T), 0.9) < 1.0


def test_where_all_is_hidden_or_flat_nothing_breaks() -> None:
    motion = Motion()
    for size in ((48, 64), (120, 161)):  # the size may change
        grey, hidden = np.full(size, 90, np.uint8), np.full(size, 255, np.uint8)
        maps = motion.maps(grey, grey, hidden)
        assert maps.shape == (*size, 2) and maps.dtype == np.float32 and np.isfinite(maps).all()


def test_an_affine_motion_is_completed_and_the_rest_left_alone() -> None:
    height, width = 96, 128
    y, x = np.indices((height, width), dtype=np.float32)
    truth = np.dstack([0.05 * x - 0.02 * y + 3, 0.01 * x + 0.04 * y - 2]).astype(np.float32)
    covered = np.zeros((height, width), np.uint8)
    covered[30:70, 40:90] = 255
    flow = np.where(covered[..., None] > 0, np.float32(-99), truth)
    complete(flow, covered)
    assert np.array_equal(flow[covered == 0], truth[covered == 0])
    assert np.abs(flow - truth).max() < 0.7 and np.abs(flow - truth)[covered > 0].mean() < 0.2
