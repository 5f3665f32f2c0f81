"""Pairs and samples: what is in them, and that each comes from its number alone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from derain_ros.data import samples as data
from derain_ros.data.layouts import pairs
from derain_ros.data.samples import (
    DataError,
    Pair,
    RenderedPairs,
    SampleSource,
    image_files,
    rain_on,
    read_pair,
    render_pair,
    render_rain,
    streaks_of,
)


def test_masks_of_real_and_synthetic_pairs(data_folder: Path) -> None:
    for pair in [path.read() for path in pairs(data_folder, "train")]:
        blot = np.zeros_like(pair.mask)
        cv2.circle(blot, (128, 128), 60, 255, -1)
        assert np.count_nonzero(pair.mask & blot) / np.count_nonzero(pair.mask | blot) > 0.85
    files, rng = image_files(data_folder / "bsds500/train"), np.random.default_rng(1)
    for pair in [render_pair(files, 128, rng) for _ in range(3)]:
        changed = np.abs(pair.wet.astype(int) - pair.clean).max(axis=2) > 0
        assert pair.mask.any() and changed[pair.mask > 0].mean() > 0.9


def test_streaks_are_what_the_rain_makes_brighter() -> None:
    clean = np.full((60, 60, 3), 90, np.uint8)
    wet = clean.copy()
    cv2.line(wet, (20, 0), (10, 59), (150, 150, 150), 3)
    wet[:, 40:] += 6  # a veil, or noise
    drawn = cv2.line(np.zeros((60, 60), np.uint8), (20, 0), (10, 59), 255, 3)
    found = streaks_of(wet, clean)
    assert not found[:, 40:].any() and np.count_nonzero(found & drawn) / np.count_nonzero(found | drawn) > 0.6


def test_rain_by_day_and_by_night(data_folder: Path) -> None:
    photograph = data.read_rgb(image_files(data_folder / "bsds500/train")[0])
    day, night = (rain_on(photograph, at_night, np.random.default_rng(3)) for at_night in (False, True))
    assert np.array_equal(day.clean, photograph) and 0.001 < (day.mask > 0).mean() < 0.9
    assert night.clean.mean() < 0.8 * photograph.mean(), "the same night, not the day"
    brighter = night.wet.astype(int) - night.clean
    assert brighter.min() >= -1 and brighter.max() > 20 and (brighter.max(2) < 5).any()


def test_crops_in_rain(data_folder: Path) -> None:
    files, rng = image_files(data_folder / "bsds500/train"), np.random.default_rng(0)
    crops = [render_rain(files, 96, rng) for _ in range(12)]
    assert all(p.wet.shape == p.clean.shape == (96, 96, 3) and p.mask.shape == (96, 96) for p in crops)
    light = [p.clean.mean() for p in crops]
    assert min(light) < 0.7 * max(light), "some by night"
    assert all((p.wet != p.clean).any() for p in crops)


def test_pairs_of_two_sizes_are_told(tmp_path: Path) -> None:
    for name, side in (("a", 32), ("b", 40)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((side, 32, 3), np.uint8))
    with pytest.raises(DataError, match="a.png and .*b.png differ in size"):
        read_pair(tmp_path / "a.png", tmp_path / "b.png")


def test_samples() -> None:
    clean = np.full((80, 80, 3), (200, 120, 60), np.uint8)
    pair = Pair(np.full_like(clean, 250), clean, np.full((80, 80), 255, np.uint8))
    source = SampleSource([pair], None, 64, 0.7, 0.5, seed=0)
    samples = [source.sample(0, k) for k in range(32)]
    assert all(s.wet.shape == s.clean.shape == (64, 64, 3) and s.mask.shape == (64, 64) for s in samples)
    kept = [np.array_equal(s.wet, s.clean) for s in samples]
    assert 8 < sum(kept) < 24, "about half are clean already"
    assert all(s.mask.max() == (0 if same else 255) for s, same in zip(samples, kept, strict=True))
    assert 8 < sum(s.colour[5] for s in samples) < 24, "about half turn grey"
    with pytest.raises(DataError, match="no pairs"):
        SampleSource([], None, 64, 1.0, 0.0, seed=0)


def test_a_sample_is_a_function_of_its_number(data_folder: Path) -> None:
    def source(seed: int) -> SampleSource:
        rendered = RenderedPairs(image_files(data_folder / "bsds500/train"), 32, 0.5, 64, seed, render_pair)
        return SampleSource([], rendered, 32, 0.0, 0.0, seed)

    drawn, again = source(1), source(1)
    first = {(step, k): drawn.sample(step, k) for step in (0, 7, 40) for k in (0, 1)}
    for number in reversed(first):
        assert all(np.array_equal(a, b) for a, b in zip(first[number], again.sample(*number), strict=True))
    others = [source(2).sample(0, 0), drawn.sample(0, 1), drawn.sample(1, 0)]
    assert not any(np.array_equal(first[0, 0].wet, other.wet) for other in others)


def test_rendered_pairs_are_renewed() -> None:
    rendered = []

    def render(files: object, size: int, rng: np.random.Generator) -> Pair:
        rendered.append(float(rng.random()))
        return Pair(*(np.full((1, 1, 3), len(rendered), np.int64),) * 3)

    supply = RenderedPairs([], 64, 0.25, 64, seed=1, render=render)
    rng = np.random.default_rng(0)
    steps = 16 * 400
    drawn = [int(supply.draw(step, rng).wet[0, 0, 0]) for step in range(steps)]
    # 400 turns of 16 parts, a quarter of a fresh pair each: drawn four times on the average.
    assert len(rendered) == len(set(rendered)) == pytest.approx(1600, rel=0.15)
    assert len(supply._pairs) <= 64 + 16
    early, late = drawn[: steps // 4], drawn[-steps // 4 :]
    assert not set(early) & set(late)


def test_sharp_drops_are_the_same_drops(data_folder: Path) -> None:
    files = image_files(data_folder / "bsds500/train")
    sharp, soft = (data.render_pair(files, 256, np.random.default_rng(5), s) for s in (True, False))
    assert np.array_equal(sharp.clean, soft.clean)
    joint = np.count_nonzero(sharp.mask & soft.mask) / np.count_nonzero(sharp.mask | soft.mask)
    assert joint > 0.5
    edges = [np.abs(np.diff(p.wet.astype(int) - p.clean, axis=1)).max() for p in (sharp, soft)]
    assert edges[0] > 1.3 * edges[1]
