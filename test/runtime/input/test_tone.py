from __future__ import annotations

import numpy as np

from derain_ros.runtime.input.tone import STEEPEST, ToneOfCamera

SECOND = 1_000_000_000
LEVELS = (25_000, 31_000)
RNG = np.random.default_rng(1)


def street(warmer: int = 0) -> np.ndarray:
    """A sky at 252 K, a street around 288 K, and a hot engine, in hundredths of a kelvin."""
    image = np.full((120, 160), 25_200, np.uint16)
    image[50:] = 28_800 + warmer + RNG.normal(0, 120, (70, 160)).astype(np.int16)
    image[100:104, 20:26] = 30_900
    return image


def test_what_most_of_the_view_has_gets_more_of_the_greys() -> None:
    image = street()
    seen = ToneOfCamera().follow(image, LEVELS, SECOND)
    plain = (image.astype(int) - LEVELS[0]) * 256 // (LEVELS[1] - LEVELS[0])
    assert seen.dtype == np.uint8 and seen.shape == image.shape
    assert 2.5 < seen[60:95].std() / plain[60:95].std() <= STEEPEST + 1.2
    # The order of temperatures stays.
    order = np.argsort(image.ravel(), kind="stable")
    assert (np.diff(seen.ravel()[order].astype(int)) >= 0).all()
    assert seen[10, 10] < seen[60:95].min() and seen[102, 22] > seen[60:95].max()


def test_a_view_of_one_temperature_stays_one_grey() -> None:
    seen = ToneOfCamera().follow(np.full((40, 40), 29_000, np.uint16), LEVELS, SECOND)
    assert np.ptp(seen) == 0
    noise = 29_000 + RNG.integers(0, 12, (40, 40)).astype(np.uint16)
    assert np.ptp(ToneOfCamera().follow(noise, LEVELS, SECOND)) <= 4, "noise is not made a picture of"


def test_greys_follow_slowly() -> None:
    tone = ToneOfCamera()
    before = tone.follow(street(), LEVELS, SECOND)
    jumps = []
    for k in range(1, 60):
        after = tone.follow(street(600), LEVELS, SECOND + k * SECOND // 10)
        jumps.append(abs(float(after[:50].mean()) - float(before[:50].mean())))
        before = after
    assert max(jumps) < 2.0, "the sky keeps its brightness while the street gets warmer"
    assert abs(float(after[60:95].std()) - float(ToneOfCamera().follow(street(600), LEVELS, SECOND)[60:95].std())) < 3


def test_values_beyond_the_levels_are_black_and_white() -> None:
    image = street()
    image[0, 0], image[0, 1] = 0, 65_535
    seen = ToneOfCamera().follow(image, LEVELS, SECOND)
    assert seen[0, 0] <= seen.min() + 1 and seen[0, 1] == 255
