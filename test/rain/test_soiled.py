"""Real dirt laid on other pictures: its cover follows what the photograph shows, and it is varied but seeded."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from derain_ros.rain.soiled import MANNERS, Soil, SoiledLens, read_soil

SHAPE = (120, 160)


@pytest.fixture(scope="module")
def soil(tmp_path_factory: pytest.TempPathFactory) -> Soil:
    """A dark blot with a soft border on grey texture, and a mask with corners around it."""
    folder = tmp_path_factory.mktemp("soil")
    blot = np.zeros((480, 640), np.float32)
    cv2.circle(blot, (200, 220), 110, 1.0, -1)
    blot = cv2.GaussianBlur(blot, (0, 0), 12)
    scene = np.random.default_rng(0).normal(150, 20, (480, 640))
    mask = np.zeros((480, 640), np.uint8)
    cv2.rectangle(mask, (80, 100), (320, 340), 255, -1)
    cv2.imwrite(str(folder / "photograph.png"), np.clip(scene * (1 - blot) + 10 * blot, 0, 255).astype(np.uint8))
    cv2.imwrite(str(folder / "mask.png"), mask)
    return read_soil(folder / "photograph.png", folder / "mask.png")


def _image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)


def _glasses(soil: Soil, count: int = 40) -> list[SoiledLens]:
    return [SoiledLens(*SHAPE, np.random.default_rng(seed), [soil]) for seed in range(count)]


def test_the_cover_follows_the_mask_and_what_the_photograph_shows(soil: Soil) -> None:
    assert soil.cover.shape == soil.picture.shape == (360, 480)
    assert soil.picture.mean() == pytest.approx(1.0, abs=0.02)
    assert soil.cover[165, 150] > 0.9 and soil.cover[:, 300:].max() < 0.05
    corner, middle = soil.cover[80:90, 65:75].mean(), soil.cover[150:180, 130:170].mean()
    assert corner < 0.8 * middle, "the mask's corner shows no dirt"


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none.png: cannot be read"):
        read_soil(tmp_path / "none.png", tmp_path / "mask.png")


def test_keeps_shape_and_type_and_leaves_clean_glass_alone(soil: Soil) -> None:
    for glass in _glasses(soil):
        image = _image()
        dirty, alpha = glass.apply(image)
        assert dirty.shape == SHAPE and dirty.dtype == np.uint8 and np.array_equal(image, _image())
        assert alpha.shape == SHAPE and alpha.dtype == np.float32 and alpha.min() >= 0.0 and alpha.max() <= 1.0
        assert np.abs(dirty.astype(int) - image)[alpha < 1e-3].max(initial=0) <= 1
    assert np.abs(dirty.astype(int) - image)[alpha > 0.3].mean() > 10


def test_dirt_is_varied(soil: Soil) -> None:
    glasses = _glasses(soil)
    assert {layer.manner for glass in glasses for layer in glass._layers} == set(MANNERS)
    covered = [float(np.mean(glass.alpha > 0.3)) for glass in glasses]
    assert min(covered) < 0.05 and max(covered) > 0.3
    grey = np.full(SHAPE, 128, np.uint8)
    thick = [(glass, glass.alpha > 0.8) for glass in glasses if (glass.alpha > 0.8).sum() > 50]
    assert min(glass.apply(grey)[0][where].mean() for glass, where in thick) < 90, "none is dark"
    assert min(glass.apply(_image())[0][where].std() for glass, where in thick) < 0.3 * _image().std(), "none hides"


def test_a_seed_gives_the_same_dirt_and_it_stays(soil: Soil) -> None:
    one, again, other = (SoiledLens(*SHAPE, np.random.default_rng(seed), [soil]) for seed in (1, 1, 2))
    assert np.array_equal(one.apply(_image())[0], again.apply(_image())[0])
    assert np.array_equal(one.alpha, one.apply(np.zeros(SHAPE, np.uint8))[1])
    assert not np.array_equal(one.alpha, other.alpha)


def test_refuses_what_does_not_fit(soil: Soil) -> None:
    with pytest.raises(ValueError, match="no soil"):
        SoiledLens(*SHAPE, np.random.default_rng(0), [])
    with pytest.raises(ValueError, match="120, 160"):
        _glasses(soil, 1)[0].apply(np.zeros((100, 100), np.uint8))
