"""Wet glass over time: drops stay, land, grow and run down; two eyes differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from derain_ros.rain.drops import LensDrops
from derain_ros.rain.sequence import WetSequence, two_eyes
from derain_ros.rain.shapes import Drops, melted_ellipses
from derain_ros.rain.style import DropStyle

STILL = replace(DropStyle.draw(np.random.default_rng(0), "few"), running=0.0, film=0.0)


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (96, 128, 3), dtype=np.uint8)


def sequence(landing: float, style: DropStyle = STILL, seed: int = 1) -> WetSequence:
    return WetSequence(96, 128, np.random.default_rng(seed), 0.1, landing, 10.0, style)


def test_drops_stay_while_the_scene_moves() -> None:
    wet = sequence(landing=0.0)
    (first, alpha), (second, later) = wet.apply(image(0), 0.0), wet.apply(image(1), 5.0)
    np.testing.assert_array_equal(alpha, later)
    assert not np.array_equal(first, second)


def test_drops_land_and_grow() -> None:
    wet = sequence(landing=3.0)
    covered = [float(wet.glass(t).alpha.mean()) for t in (0.0, 2.0, 5.0, 10.0)]
    assert covered == sorted(covered) and covered[-1] > 1.5 * covered[0]
    before, soon = wet.glass(5.0).alpha, wet.glass(5.1).alpha
    # Where there was water there still is.
    assert (soon[before > 0.9] > 0.85).all()


def test_a_drop_does_not_come_at_once() -> None:
    wet = sequence(landing=1.0, style=replace(STILL, radius=0.1, spread=0.0, defocus=0.0))
    covered = np.array([np.count_nonzero(wet.glass(t).alpha) for t in np.arange(0, 5, 0.04)])
    assert covered[-1] - covered[0] > 250 and np.diff(covered).max() < 0.5 * np.pi * 9.6**2


def test_drops_run_down_and_leave_trails() -> None:
    style = replace(STILL, running=1.0, spread=0.0, radius=0.06, defocus=0.0)
    wet = WetSequence(96, 128, np.random.default_rng(3), 0.05, 0.0, 4.0, style)
    rows = np.arange(96)[:, None]
    begin, end = wet.glass(0.0).alpha, wet.glass(3.5).alpha
    assert (end * rows).sum() / end.sum() > (begin * rows).sum() / begin.sum() + 4
    assert np.count_nonzero((end > 0.5) & (begin < 0.5)) > 20 and np.count_nonzero((end < 0.5) & (begin > 0.5)) > 20


def test_drops_run_and_grow_without_leaps() -> None:
    # So far out of focus that a glass is drawn at every fourth pixel.
    style = replace(STILL, defocus=0.05)
    one, protos = np.ones(1), melted_ellipses(1, np.random.default_rng(0))

    def alpha(y: float, radius: float) -> np.ndarray:
        drop = Drops((0.3 + y) * one, y * one, radius * one, one, one, np.zeros(1, int), np.zeros(1, bool))
        return LensDrops.of(216, 288, style, drop, protos, np.random.default_rng(0), np.array([True])).alpha

    alphas = [alpha(0.3 + 0.004 * n, 0.08) for n in range(20)]
    for along in (np.arange(216)[:, None], np.arange(288)):
        steps = np.diff([(a * along).sum() / a.sum() for a in alphas])
        assert steps == pytest.approx(np.full(19, 0.004 * 216), abs=0.25) and np.ptp(steps) < 0.45
    areas = np.diff([alpha(0.5, 0.06 + 0.001 * n).sum() for n in range(20)])
    assert areas.min() > 0.3 * areas.mean() and areas.max() < 2 * areas.mean()
    # From nothing on.
    for radius in (1e-6, 0.004, 0.008, 0.016, 0.03):
        assert alpha(0.5, radius).sum() == pytest.approx(np.pi * (216 * radius) ** 2, rel=0.25, abs=0.5)


def test_a_seed_gives_the_same_history_in_any_order() -> None:
    one, other = sequence(3.0), sequence(3.0)
    late = one.apply(image(), 6.0)[0]
    other.apply(image(), 9.0)
    other.apply(image(), 2.0)
    np.testing.assert_array_equal(other.apply(image(), 6.0)[0], late)


def test_two_eyes_have_drops_of_their_own() -> None:
    left, right = (eye.glass(1.0).alpha for eye in two_eyes(96, 128, 5, 0.2))
    again = two_eyes(96, 128, 5, 0.2)[1].glass(1.0).alpha
    np.testing.assert_array_equal(right, again)
    assert np.corrcoef(left.ravel(), right.ravel())[0, 1] < 0.6


def test_impossible_times_are_refused() -> None:
    with pytest.raises(ValueError, match="begins at second 0"):
        sequence(1.0).glass(-1.0)
    with pytest.raises(ValueError, match="neither may be negative"):
        sequence(-1.0)
