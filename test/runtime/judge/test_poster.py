"""A poster with drops on it, hanging in the scene, before the shipped detector: both eyes see it, so it is no alarm."""

from __future__ import annotations

import numpy as np

from derain_ros.config import Config
from derain_ros.frame import Frame, FrameSet
from derain_ros.manifest import Manifest
from derain_ros.rain.drops import LensDrops
from derain_ros.rain.scene import Scene, rig
from derain_ros.rain.style import DropStyle
from derain_ros.runtime.judge.detect import Detect
from derain_ros.runtime.loading.models import find_detector, load_detector
from derain_ros.runtime.pipeline import Pipeline


def wet(image: np.ndarray, coverage: float) -> np.ndarray:
    rng = np.random.default_rng(5)
    return LensDrops(*image.shape, rng, coverage, DropStyle.draw(rng, "heavy")).apply(np.ascontiguousarray(image))[0]


def test_a_poster_with_drops_raises_no_alarm_and_the_same_drops_on_a_lens_do() -> None:
    config = Config(cameras=["left", "right"], enabled=False, temporal=False)
    left, right = (Scene(7).render(rig(720, 540)[side], 1.0)[0] for side in ("left", "right"))
    poster, disparity = wet(left[100:460, 100:580], 0.35), 24
    with_poster = left.copy(), right.copy()
    with_poster[0][90:450, 120:600] = poster
    with_poster[1][90:450, 120 - disparity : 600 - disparity] = poster

    detector = Detect(load_detector(find_detector(config, Manifest.load()), config))
    alone = detector.detect([Frame(image) for image in with_poster], config.on_score)
    assert all(found.kind == "raindrop" and found.coverage > 0.15 for found in alone), "each eye by itself is deceived"

    def alarm(eyes: tuple[np.ndarray, np.ndarray]) -> bool:
        pipeline = Pipeline(config)
        pipeline.load()
        for n in range(15):
            stamp_ns = n * 100_000_000
            result = pipeline.process(
                FrameSet(
                    {side: Frame(image, stamp_ns=stamp_ns) for side, image in zip(("left", "right"), eyes, strict=True)}
                )
            )
        return result.affected

    assert not alarm(with_poster)
    assert alarm((wet(left, 0.3), right))
