"""Fusers on pairs that no training sees; and what the shipped one does with drops, noise and too much warmth."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_fusion import write_pairs

pytest.importorskip("pywt", reason="figures of fused images need the extra `train`")
pytest.importorskip("torch", reason="figures of fused images need the extra `train`")

from derain_ros.engine import Engine, load  # noqa: E402
from derain_ros.evaluate.fusion import FusionScore, evaluate  # noqa: E402
from derain_ros.evaluate.fusion_held_out import KINDS, PEERS, fuse, fused_with, held_out, summary  # noqa: E402
from derain_ros.manifest import Manifest  # noqa: E402

DATA = Path(os.environ.get("DERAIN_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SIZE = (240, 320)


@pytest.fixture(scope="module")
def fuser() -> Engine:
    """The shipped fuser in eight bits, on the processor."""
    return load(Manifest.load().get("fuse"))


def texture(seed: int, smooth: float, contrast: float = 40.0, mean: float = 110.0) -> np.ndarray:
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, SIZE), (0, 0), smooth)
    return np.clip(mean + contrast * noise / noise.std(), 0, 255).astype(np.uint8)


def details(image: np.ndarray) -> np.ndarray:
    values = image.astype(np.float64)
    return values - cv2.GaussianBlur(values, (0, 0), 4)


def likeness(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    return float(np.corrcoef(details(a)[where], details(b)[where])[0, 1])


def test_what_is_held_out_by_kind(tmp_path: Path) -> None:
    scenes = held_out(write_pairs(tmp_path))
    assert {kind: len(found) for kind, found in scenes.items()} == {"road": 2, "night": 2}
    for place in ("visible", "infrared"):
        (tmp_path / PEERS / place).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / PEERS / place / "1.png"), texture(0, 2))
        (tmp_path / f"msrs/train/{place}/000.png").rename(tmp_path / f"msrs/train/{place}/000D.png")
    assert {kind: len(found) for kind, found in held_out(tmp_path).items()} == {
        "tno": 1,
        "road": 2,
        "night": 1,
        "day": 1,
    }
    assert list(held_out(tmp_path)) == list(KINDS)


def test_means_by_kind() -> None:
    scores = {
        "road": [FusionScore("a", "1", {"qabf": 0.5}), FusionScore("a", "2", {"qabf": 0.7})],
        "day": [FusionScore("a", "3", {"qabf": 0.1})],
    }
    assert summary(scores) == {"road_qabf": pytest.approx(0.6), "day_qabf": 0.1}


def test_both_sources_are_in_what_the_shipped_fuser_makes(fuser: Engine) -> None:
    visible, infrared = texture(0, 1.2), texture(1, 6.0)
    fused, everywhere = fuse(fuser, visible, infrared), np.ones(SIZE, bool)
    assert likeness(fused, visible, everywhere) > 0.9
    assert np.corrcoef(cv2.blur(fused, (15, 15)).ravel(), cv2.blur(infrared, (15, 15)).ravel())[0, 1] > 0.6
    odd = fuse(fuser, visible[:101, :77], infrared[:101, :77])
    assert odd.shape == (101, 77) and likeness(odd, fused[:101, :77], np.ones((101, 77), bool)) > 0.98


def test_under_the_mask_it_leans_on_infrared(fuser: Engine) -> None:
    """A drop hides the visible image and shows a view of its own; told by the mask, the fuser takes little of it."""
    visible, infrared = texture(0, 2.0), texture(1, 2.0)
    mask = np.zeros(SIZE, np.uint8)
    cv2.circle(mask, (160, 120), 70, 255, -1)
    drop = mask > 0
    wet = np.where(drop, texture(2, 2.0, mean=150), visible)
    unknown, known = fuse(fuser, wet, infrared), fuse(fuser, wet, infrared, mask)
    assert likeness(known, infrared, drop) > 0.8 > likeness(unknown, infrared, drop) + 0.1
    assert likeness(known, wet, drop) < 0.6 * likeness(unknown, wet, drop)
    # What is not hidden stays as it was.
    far = cv2.dilate(mask, np.ones((65, 65))) == 0
    assert np.abs(known.astype(int) - unknown)[far].mean() < 4


def test_infrared_noise_on_flat_ground_is_not_amplified(fuser: Engine) -> None:
    visible = np.full(SIZE, 180, np.uint8)
    noise = np.random.default_rng(0).normal(0, 3, SIZE)
    infrared = np.clip(60 + noise, 0, 255).astype(np.uint8)
    fused = fuse(fuser, visible, infrared)
    assert details(fused).std() < 0.5 * details(infrared).std()


def test_a_saturated_infrared_image_does_not_bleach_the_day(fuser: Engine) -> None:
    visible = texture(0, 3.0)
    fused = fuse(fuser, visible, np.full(SIZE, 255, np.uint8))
    assert abs(fused.mean() - visible.mean()) < 40 and np.corrcoef(fused.ravel(), visible.ravel())[0, 1] > 0.95


@pytest.mark.skipif(not (DATA / PEERS).is_dir(), reason=f"no pairs of TNO at {DATA}; set DERAIN_DATA")
def test_on_tno_it_is_ahead_of_every_published_method_in_edges_and_information_at_once(fuser: Engine) -> None:
    scenes = held_out(DATA)["tno"]
    scores = list(evaluate(scenes, {"fuse": fused_with(fuser)}, ("qabf", "vif", "scd")))
    figures = summary({"tno": scores})
    # The best published ones: PIAFusion's Qabf 0.522 and VIF 0.748.
    assert figures["tno_qabf"] > 0.522 and figures["tno_vif"] > 0.748 and figures["tno_scd"] > 1.5
