"""What it is worth to move the thermal image to fit: real pairs whose thermal camera was knocked by some pixels."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from derain_ros.config import Config
from derain_ros.engine import load
from derain_ros.evaluate.fusion_held_out import fuse
from derain_ros.evaluate.fusion_metrics import edge_preservation
from derain_ros.frame import Frame
from derain_ros.manifest import Manifest
from derain_ros.runtime.input.thermal import LOOK_NS, LOOKS, Thermal

DATA = Path(os.environ.get("DERAIN_DATA", Path(__file__).parents[2].parent / "shared/data"))
SIZE = (640, 360)
BORDER = np.s_[12:-12, 16:-16]
"""Where no image ends."""


@pytest.mark.skipif(not (DATA / "roadscene_rain").is_dir(), reason="needs shared/data/roadscene_rain")
def test_qabf_is_kept_at_two_four_and_eight_pixels() -> None:
    paths = sorted((DATA / "roadscene_rain/train/clean").iterdir())[::9]
    infrared = DATA / "roadscene_rain/train/infrared"
    pairs = [
        tuple(
            cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), SIZE, interpolation=cv2.INTER_AREA)
            for path in (visible, next(infrared.glob(f"{visible.stem}.*")))
        )
        for visible in paths
    ]
    engine = load(Manifest.load().get("fuse"), "onnxruntime", 1)

    def quality(visible: np.ndarray, true: np.ndarray, shown: np.ndarray) -> float:
        return edge_preservation(visible[BORDER], true[BORDER], fuse(engine, visible, shown)[BORDER])

    figures: dict[int, tuple[float, float]] = {}
    for shift in (0, 2, 4, 8):
        camera = Thermal(Config(thermal=True, thermal_homography=[1.0, 0.0, shift, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]))
        found = []
        for k, (visible, true) in enumerate(pairs):
            camera.look(Frame(true), Frame(visible), visible[..., None], (k + 1) * LOOK_NS)
            if k >= LOOKS:
                assert camera._warp is not None
                found.append((quality(visible, true, camera._warp.unmoved(true)), quality(visible, true, camera.shown)))
        figures[shift] = tuple(float(value) for value in np.mean(found, axis=0))  # type: ignore[assignment]
        print(f"{shift} px off: Qabf {figures[shift][0]:.3f}, moved to fit {figures[shift][1]:.3f}")
    for shift in (2, 4, 8):
        unmoved, moved = figures[shift]
        # These pairs are of many rigs, aligned to a pixel each in its own way: no move fits all of them.
        assert moved > 0.8 * figures[0][0] and moved > unmoved + 0.1, figures
