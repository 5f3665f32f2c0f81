"""Pairs of visible and infrared images: what is held out, and the samples that training draws."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_fusion import write_pairs

pytest.importorskip("torch")

from derain_ros.data import fusion, pictures  # noqa: E402
from derain_ros.data.fusion import FOLDERS, FusionPair, FusionSource, fusion_pairs  # noqa: E402
from derain_ros.data.pictures import find_pictures  # noqa: E402
from derain_ros.data.samples import DataError  # noqa: E402
from derain_ros.data.splits import PICTURE_SPLITS  # noqa: E402

DATA = Path(os.environ.get("DERAIN_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SIZE = 96


@pytest.fixture(scope="module")
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs"))


def only(monkeypatch: pytest.MonkeyPatch, **share: float) -> None:
    """Samples are of all kinds named, and of no other."""
    for kind in ("MASKED", "NOISY", "SATURATED", "MISALIGNED"):
        monkeypatch.setattr(fusion, kind, share.get(kind.lower(), 0.0))


def test_no_pair_is_in_two_splits_and_each_image_has_its_own(pairs_folder: Path) -> None:
    splits = [fusion_pairs(pairs_folder, split) for split in PICTURE_SPLITS]
    for one, other in combinations(splits, 2):
        assert one and not set(one) & set(other)
    assert sum(map(len, splits)) == 18 * len(FOLDERS)
    assert all(p.visible.name == p.infrared.name and p.visible != p.infrared for split in splits for p in split)
    assert {p.source for p in splits[0]} == set(FOLDERS)
    assert {p.source for p in splits[1]} == {p.source for p in splits[2]} == {"roadscene", "msrs"}, "one place only"


@pytest.mark.skipif(not (DATA / "msrs/train/infrared").is_dir(), reason=f"no pairs at {DATA}; set DERAIN_DATA")
def test_what_other_networks_hold_out_is_held_out_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "read_outlines", lambda folder, most: [])  # slow to read, and not looked at
    for split in PICTURE_SPLITS:
        found, pairs = find_pictures(DATA, split), fusion_pairs(DATA, split)
        assert [p.visible for p in pairs if p.source == "roadscene"] == found.clean["roadscene"]
        assert [p.visible for p in pairs if p.source == "msrs"] == found.clean["msrs"]


def test_what_lacks_is_told(pairs_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="roadscene_rain/train/clean.*llvip/train/infrared"):
        fusion_pairs(tmp_path, "train")
    write_pairs(tmp_path)
    (tmp_path / "msrs/train/infrared/005.png").unlink()
    with pytest.raises(DataError, match=r"msrs/train/infrared: lacks the counterpart of 005.png"):
        fusion_pairs(tmp_path, "train")
    cv2.imwrite(str(tmp_path / "msrs/train/infrared/005.png"), np.zeros((20, 20), np.uint8))
    pair = next(p for p in fusion_pairs(tmp_path, "train") if p.source == "msrs" and p.visible.stem == "005")
    with pytest.raises(DataError, match="differ in size"):
        pair.read()
    with pytest.raises(DataError, match="no pairs"):
        FusionSource([], SIZE, 0)


def test_a_sample_is_a_function_of_its_place(pairs_folder: Path) -> None:
    pairs = fusion_pairs(pairs_folder, "train")
    first, again = (FusionSource(pairs, SIZE, 3) for _ in range(2))
    for place in range(6):
        sample = first.sample(7, place)
        assert all(part.shape == (SIZE, SIZE) and part.dtype == np.uint8 for part in sample)
        assert all(map(np.array_equal, sample, again.sample(7, place)))
    assert not np.array_equal(first.sample(7, 0).visible, first.sample(8, 0).visible)


def test_a_plain_sample_shows_both_as_they_are_and_aligned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same picture on both sides must come out the same on both, whatever scale and side were drawn."""
    only(monkeypatch)
    picture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (150, 200), np.uint8), (0, 0), 2)
    cv2.imwrite(str(tmp_path / "picture.png"), picture)
    monkeypatch.setattr(fusion, "_lit", lambda image, gain, gamma: image)
    source = FusionSource([FusionPair("msrs", tmp_path / "picture.png", tmp_path / "picture.png")], SIZE, 0)
    for place in range(8):
        sample = source.sample(0, place)
        assert np.array_equal(sample.clean_visible, sample.clean_infrared) and sample.clean_visible.std() > 3
        assert np.array_equal(sample.visible, sample.clean_visible) and np.array_equal(sample.infrared, sample.visible)
        assert not sample.mask.any()


def test_a_misaligned_sample_is_off_by_a_few_pixels_and_its_truth_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, misaligned=1.0)
    picture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (150, 200), np.uint8), (0, 0), 3)
    cv2.imwrite(str(tmp_path / "picture.png"), cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX))
    monkeypatch.setattr(fusion, "_lit", lambda image, gain, gamma: image)
    source = FusionSource([FusionPair("msrs", tmp_path / "picture.png", tmp_path / "picture.png")], SIZE, 0)
    for place in range(8):
        sample = source.sample(0, place)
        assert np.array_equal(sample.clean_visible, sample.clean_infrared)
        moved, response = cv2.phaseCorrelate(*(np.float64(image) for image in (sample.clean_infrared, sample.infrared)))
        assert 0.05 < np.hypot(*moved) < 1.5 * fusion.FARTHEST and response > 0.3


def test_drops_spoil_what_the_mask_shows_and_nothing_else(pairs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, masked=1.0)
    source = FusionSource(fusion_pairs(pairs_folder, "train"), SIZE, 1)
    inside, outside, covered = [], [], []
    for place in range(12):
        sample = source.sample(0, place)
        change = np.abs(sample.visible.astype(int) - sample.clean_visible)
        assert set(np.unique(sample.mask)) <= {0, 255}
        inside.append(change[sample.mask > 0].mean())
        free = cv2.dilate(sample.mask, np.ones((15, 15))) == 0
        outside += [change[free].mean()] if free.any() else []
        covered.append((sample.mask > 0).mean())
        assert np.array_equal(sample.infrared, sample.clean_infrared)
    assert np.median(inside) > 3 * np.median(outside) and 0.03 < np.mean(covered) < 0.8


def test_noise_and_too_much_light_are_in_the_infrared_image(
    pairs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = fusion_pairs(pairs_folder, "train")
    only(monkeypatch, noisy=1.0)
    for place in range(6):
        sample = FusionSource(pairs, SIZE, 1).sample(0, place)
        assert np.array_equal(sample.visible, sample.clean_visible)
        assert 0.5 < np.std(sample.infrared.astype(int) - sample.clean_infrared) < 10, "and its truth has none"
    only(monkeypatch, saturated=1.0)
    white = [np.mean(FusionSource(pairs, SIZE, 1).sample(0, place).infrared == 255) for place in range(12)]
    only(monkeypatch)
    usual = [np.mean(FusionSource(pairs, SIZE, 1).sample(0, place).infrared == 255) for place in range(12)]
    assert np.mean(white) > 3 * np.mean(usual) + 0.02
