"""Water on a lens: drops flow together, run down, leave trails, and dry; none of it gets lost."""

from __future__ import annotations

import numpy as np
import pytest

from derain_ros.rain.shapes import Drops
from derain_ros.rain.water import TOUCH, Water


def water(critical: float, height: float = 1.0, seed: int = 0) -> Water:
    return Water(1.0, height, critical, 4, np.random.default_rng(seed))


def touching(drops: Drops) -> int:
    """Pairs of drops that should be one."""
    reach = 0.999 * TOUCH * (drops.radius[:, None] + drops.radius)
    near = np.hypot(drops.x[:, None] - drops.x, drops.y[:, None] - drops.y) < reach
    return int(np.count_nonzero(near) - len(drops)) // 2


def test_drops_that_touch_flow_together_and_their_volumes_add() -> None:
    glass, radius = water(1.0), np.random.default_rng(1).uniform(0.005, 0.025, 700)
    for part in np.split(radius, 7):
        glass.land(part)
        assert touching(glass.drops()) == 0
    drops = glass.drops()
    assert 20 < len(drops) < 500 and drops.radius.max() > 0.04
    assert glass.volume == pytest.approx((radius**3).sum()) and (drops.radius**3).sum() == pytest.approx(glass.volume)


def test_what_flows_together_lies_between() -> None:
    for seed in range(60):
        glass = water(1.0, seed=seed)
        glass.land(np.array([0.2]))
        one = glass.drops()
        glass.land(np.array([0.05]))
        both = glass.drops()
        if len(both) == 1:
            moved = np.hypot(both.x - one.x, both.y - one.y)[0]
            # The small one has a 64th of the large one's volume.
            assert 0 < moved < 1.01 * 0.25 * TOUCH / 65 and both.radius[0] == pytest.approx(
                (0.2**3 + 0.05**3) ** (1 / 3)
            )
            return
    pytest.fail("no two drops met")


def test_small_drops_rest() -> None:
    glass = water(0.1)
    glass.land(np.full(40, 0.01))
    before = glass.drops()
    glass.flow(10.0)
    np.testing.assert_array_equal(glass.drops().y, before.y)
    assert not glass.running.any()


def test_a_drop_too_heavy_runs_down_an_irregular_path_and_leaves_a_trail() -> None:
    glass = water(0.05, height=10.0)
    glass.land(np.array([0.08]))
    begin = glass.drops()
    path = [float(begin.x[0])]
    for _ in range(8):
        glass.flow(0.1)
        path.append(float(glass.drops().x[0]))
    drops, runner = glass.drops(), int(np.argmax(glass.drops().radius))
    assert glass.running[runner] and drops.y[runner] > begin.y[0] + 0.2
    trail = np.delete(np.arange(len(drops)), runner)
    assert (
        len(trail) > 5
        and (drops.y[trail] < drops.y[runner]).all()
        and (drops.y[trail] > begin.y[0] - 0.08 - 0.03).all()
    )
    assert np.abs(drops.x[trail] - begin.x[0]).max() < 0.5 and drops.radius[trail].max() < 0.4 * 0.08
    # What the trail has, the drop has lost.
    assert drops.radius[runner] < 0.08 and glass.volume == pytest.approx(0.08**3)
    turns = np.diff(path)
    assert np.ptp(turns) > 0.002 and touching(drops) == 0


def test_a_running_drop_takes_up_what_it_meets() -> None:
    glass = water(0.06, height=6.0)
    glass.land(np.full(2500, 0.012))
    glass.land(np.array([0.15]))
    total, before = glass.volume, glass.drops()
    runner = int(np.argmax(before.radius))
    glass.flow(0.25)
    after = glass.drops()
    start, end = float(before.y[runner]), float(after.y[np.argmax(after.radius)])
    in_its_way = (np.abs(before.x - before.x[runner]) < 0.05) & (before.y > start) & (before.y < end)
    aside = (np.abs(before.x - before.x[runner]) > 0.4) & (before.y > start) & (before.y < end)
    in_its_way[runner] = False
    assert end > start + 0.15 and np.count_nonzero(in_its_way) > 5 and np.count_nonzero(aside) > 10
    assert not np.isin(before.x[in_its_way], after.x).any() and np.isin(before.x[aside], after.x).all()
    assert glass.volume == pytest.approx(total) and touching(after) == 0


def test_what_runs_off_the_glass_is_gone() -> None:
    glass = water(0.02)
    glass.land(np.full(3, 0.15))
    glass.flow(120.0)
    assert glass.drops().radius.max() < 0.06 and glass.volume < 0.1 * 3 * 0.15**3 and (glass.drops().y < 1.1).all()


def test_small_drops_dry_first() -> None:
    glass = water(1.0, height=50.0)
    glass.land(np.array([0.01, 0.02, 0.04]))
    glass.dry(0.012)
    np.testing.assert_allclose(np.sort(glass.drops().radius), [0.008, 0.028])
    glass.dry(0.03)
    assert len(glass.drops()) == 0 and glass.volume == 0 and glass.coverage == 0
    glass.flow(1.0)


def test_coverage_is_the_share_under_water() -> None:
    glass = water(1.0, height=2.0)
    glass.land(np.array([0.1]))
    assert glass.coverage == pytest.approx(np.pi * 0.01 / 2)
