"""Motion between frames: found where the view is free, completed behind what stands still on the glass."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from derain_ros.runtime.stages import motion as motion_module
from derain_ros.runtime.stages.motion import Motion, around, trust


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """A texture to look around in, (300, 400) uint8."""
    rng = np.random.default_rng(2)
    noise = cv2.GaussianBlur(rng.standard_normal((300, 400)).astype(np.float32), (0, 0), 3)
    return cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def window(scene: np.ndarray, x: int, y: int) -> np.ndarray:
    return np.ascontiguousarray(scene[y : y + 120, x : x + 160])


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


def test_the_size_may_change_at_any_time(scene: np.ndarray) -> None:
    motion = Motion()
    # The estimator's own state of one size is of no use for another: it crashed, or stayed as coarse as that.
    for height, width in ((32, 70), (33, 38), (120, 161), (32, 32), (240, 320)):
        for n in range(1, 3):
            before, now = (scene[20 : 20 + height, 40 + 3 * k : 40 + 3 * k + width].copy() for k in (n - 1, n))
            maps = motion.maps(now, before, np.zeros((height, width), np.uint8))
        away = maps - np.dstack(np.meshgrid(np.arange(width), np.arange(height)))
        assert away.shape == (height, width, 2) and np.isfinite(away).all()
    assert np.abs(away[20:-20, 20:-20] - [3, 0]).mean() < 0.15


def test_what_is_free_moves_as_without_a_drop(scene: np.ndarray) -> None:
    before, now = (window(scene, x, 50) for x in (40, 43))
    hidden = np.zeros((120, 160), np.uint8)
    cv2.circle(hidden, (80, 60), 22, 255, -1)
    free, some = (Motion().maps(now, before, covered) for covered in (np.zeros_like(hidden), hidden))
    away = cv2.dilate(hidden, np.ones((5, 5), np.uint8)) == 0
    assert np.array_equal(free[away], some[away]) and not np.array_equal(
        free[~away & (hidden == 0)], some[~away & (hidden == 0)]
    )


@pytest.mark.parametrize("skipped", [0, 1])
def test_what_passes_behind_a_drop_keeps_its_own_motion(scene: np.ndarray, skipped: int) -> None:
    # A near thing before a far scene: it is narrower than the drop and moves six times as fast.
    height, width, slow, fast = 160, 240, 1, 6
    near = cv2.flip(scene, -1)
    hidden = np.zeros((height, width), np.uint8)
    cv2.circle(hidden, (130, 80), 34, 255, -1)

    def frame(n: int) -> np.ndarray:
        image = scene[40 : 40 + height, 60 - slow * n : 60 - slow * n + width].copy()
        image[40:120, fast * n : fast * n + 40] = near[40:120, 100:140]
        return image

    motion = Motion()
    shown = [*range(18 - skipped), 18]
    for last, n in pairwise(shown):
        maps = motion.maps(frame(n), frame(last), hidden, 0.05 * (n - last))
    away = (maps - np.dstack(np.meshgrid(np.arange(width), np.arange(height))))[..., 0]
    behind = hidden > 0
    thing = np.zeros_like(behind)
    thing[50:110, fast * 18 + 10 : fast * 18 + 30] = True
    # Not all of it: what was measured at the drop's border is a mixture. Fitted from around alone it would be -1.
    assert np.median(away[behind & thing]) < -2.3 * (1 + skipped)
    beside = behind & ~cv2.dilate(thing.astype(np.uint8), np.ones((41, 41), np.uint8)).astype(bool)
    assert np.median(away[beside]) == pytest.approx(-slow * (1 + skipped), abs=0.8)


def test_what_is_hidden_stops_with_the_camera(scene: np.ndarray) -> None:
    hidden = np.zeros((160, 240), np.uint8)
    for x, y in ((60, 50), (120, 110), (180, 60)):
        cv2.circle(hidden, (x, y), 30, 255, -1)
    motion, place = Motion(), np.minimum(np.arange(40), 20)
    for n in range(1, 40):
        before, now = (scene[60:220, 10 + 4 * x : 250 + 4 * x].copy() for x in place[n - 1 : n + 1])
        now[hidden > 0] = cv2.GaussianBlur(now, (0, 0), 6)[hidden > 0]
        away = motion.maps(now, before, hidden) - np.dstack(np.meshgrid(np.arange(240), np.arange(160)))
    assert np.hypot(*away[hidden > 0].T).mean() < 0.15


def test_detail_that_fits_away_from_the_glass_is_trusted(scene: np.ndarray) -> None:
    now, before = (window(scene, x, 50).copy() for x in (44, 40))
    hidden = np.zeros((120, 160), np.uint8)
    hidden[40:80, 60:100] = 255
    maps = np.dstack(np.meshgrid(np.arange(160, dtype=np.float32), np.arange(120, dtype=np.float32)))
    maps[..., 0] += 4
    now[:, 136:] = before[:, 136:] = 100  # flat
    now[88:, :50] = scene[200:232, 200:250]  # another scene
    trusted = trust(now, before, hidden, maps)
    assert trusted.shape == (15, 20) and trusted.dtype == np.float32 and 0 < trusted.min() < trusted.max() <= 1
    fitting, flat, new, beside = (
        float(trusted[part].mean()) for part in (np.s_[:3, :5], np.s_[2:13, 18:], np.s_[12:, :5], np.s_[5:10, 6:7])
    )
    assert fitting > 0.5 and max(flat, new, beside) < fitting / 2.5


def test_what_is_hidden_follows_what_is_trusted(scene: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    # The left half moves by two pixels, the right by eight; a drop is in the middle.
    hidden = np.zeros((160, 240), np.uint8)
    cv2.circle(hidden, (120, 80), 40, 255, -1)
    before, now = (np.hstack([scene[50:210, x : x + 120] for x in places]) for places in ((40, 180), (42, 188)))
    follows = []
    for side in (np.s_[:, :15], np.s_[:, 15:]):
        trusted = np.full((20, 30), 0.01, np.float32)
        trusted[side] = 1
        monkeypatch.setattr(motion_module, "trust", lambda *_, trusted=trusted: trusted)
        away = Motion().maps(now, before, hidden) - np.dstack(np.meshgrid(np.arange(240), np.arange(160)))
        follows.append(float(np.median(away[hidden > 0][:, 0])))
    assert follows[0] < 3.5 < 6.5 < follows[1]


def test_an_affine_motion_is_completed() -> None:
    y, x = np.indices((48, 64), dtype=np.float32)
    truth = np.dstack([0.4 * x - 0.16 * y + 3, 0.08 * x + 0.32 * y - 2]).astype(np.float32)
    known = np.ones((48, 64), np.float32)
    known[15:35, 20:45] = 0
    fits = around(np.where(known[..., None] > 0, truth, np.float32(-99)), known)
    assert fits.shape == truth.shape and fits.dtype == np.float32
    assert np.abs(fits - truth)[known == 0].mean() < 0.3
