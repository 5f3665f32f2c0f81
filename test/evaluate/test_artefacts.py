"""Artefacts within filled areas: patterns on the network's grid are told from texture and from blur; corners."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import pytest

from derain_ros.evaluate.artefacts import corners, grid
from derain_ros.evaluate.restoration import EvaluationPair, markdown, score, summary


def texture(seed: int = 0) -> np.ndarray:
    """Patches with edges and grain, (160, 200) uint8."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.uniform(60, 190, (8, 10)).astype(np.float32), (200, 160), interpolation=cv2.INTER_CUBIC)
    for x, y, side, grey in rng.integers((0, 0, 8, 40), (200, 160, 40, 220), (20, 4)):
        cv2.rectangle(image, (int(x), int(y)), (int(x + side), int(y + side)), float(grey), -1)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 0.8) + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def dotted(image: np.ndarray, period: int, levels: int = 3) -> np.ndarray:
    """A dot of 2x2 pixels in each period."""
    y, x = np.indices(image.shape)
    return (image + levels * ((y % period < 2) & (x % period < 2))).astype(np.uint8)


BLOT = cv2.circle(np.zeros((160, 200), np.uint8), (90, 70), 55, 1, -1) > 0
SPECKS = cv2.resize(np.random.default_rng(5).random((16, 20)), (200, 160), interpolation=cv2.INTER_NEAREST) < 0.3
MASKS = {"all": np.ones((160, 200), bool), "blot": BLOT, "specks": SPECKS}


def ratio(made: Callable[[np.ndarray], np.ndarray], filled: np.ndarray) -> float:
    """Restored / clean of eight images together, the restored ones made of the clean ones."""
    added, energy = np.sum([grid(made(image), image, filled) for image in map(texture, range(8))], axis=0)
    return float(1 + added / energy)


@pytest.mark.parametrize("filled", MASKS.values(), ids=MASKS.keys())
def test_a_grid_is_told_from_texture(filled: np.ndarray) -> None:
    assert ratio(np.copy, filled) == 1
    assert ratio(lambda image: texture(int(image.sum())), filled) == pytest.approx(1, abs=0.25), "another texture"
    y, x = np.indices(filled.shape)
    checkerboard = np.where((y // 2 + x // 2) % 2, 4, 0).astype(np.uint8)
    for pattern in (
        dotted(np.zeros_like(filled, np.uint8), 8),
        dotted(np.zeros_like(filled, np.uint8), 16, 8),
        checkerboard,
    ):
        assert ratio(partial(cv2.add, pattern), filled) > 1.5
        assert ratio(partial(cv2.add, pattern * ~filled), filled) < 1.25, "outside of the mask"


def test_a_blurred_image_has_no_grid_and_does_not_hide_one() -> None:
    def blurred(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (0, 0), 2)

    assert ratio(blurred, BLOT) == pytest.approx(1, abs=0.2)
    assert ratio(lambda image: dotted(blurred(image), 8), BLOT) > 2
    assert ratio(lambda image: dotted(blurred(image), 11), BLOT) < 1.2, "what repeats, but not on the grid"


def test_corners_are_counted_within_the_mask() -> None:
    clean = np.full((96, 96), 60, np.uint8)
    filled = np.zeros(clean.shape, bool)
    filled[:, :48] = True
    for x in (20, 70):
        cv2.rectangle(clean, (x, 20), (x + 10, 30), 200, -1)
    restored = clean.copy()
    cv2.rectangle(restored, (20, 60), (30, 70), 200, -1)
    clean, restored = (cv2.GaussianBlur(image, (0, 0), 1) for image in (clean, restored))
    assert corners(restored, clean, filled) == (8, 4)
    assert corners(restored, clean, ~filled) == (4, 4)


def test_they_are_figures_of_a_set_with_a_true_mask() -> None:
    clean, found = texture(), np.where(BLOT, 255, 0).astype(np.uint8)
    plain, patterned = (
        score(EvaluationPair("a", clean, clean, found), image, found) for image in (clean, dotted(clean, 8))
    )
    assert summary([plain])["grid"] == 1 and summary([plain])["corners"] == 1
    one, both = summary([patterned]), summary([plain, patterned])
    assert one["grid"] > 1.5 and both["grid"] == pytest.approx((1 + one["grid"]) / 2)
    table = markdown([("held out", "tiny", [plain, patterned])])
    assert "| grid | corners |" in table and "Grid: " in table and "Corners: " in table
    none = score(EvaluationPair("a", clean, clean, found), clean, np.zeros_like(found))
    assert not {"grid", "corners"} & set(summary([none])), "nothing was filled in"
    unknown = score(EvaluationPair("a", clean, clean), dotted(clean, 8), found)
    assert not {"grid", "corners"} & set(summary([unknown])) and "Grid: " not in markdown([("set", "tiny", [unknown])])
    colour = np.repeat(clean[..., None], 3, 2)
    assert score(EvaluationPair("a", colour, colour, found), colour, found).corners == plain.corners
