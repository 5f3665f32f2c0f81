"""Sheets: four pictures a row, from the least gain to the greatest; scenes with methods side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tiny_models

from derain_ros.engine import load
from derain_ros.evaluate.fusion import FusionScene
from derain_ros.evaluate.restoration import EvaluationPair, evaluate
from derain_ros.evaluate.sheet import BAR, HEIGHT, before_after, side_by_side
from derain_ros.manifest import Manifest


def test_rows_from_least_to_greatest_gain(tmp_path: Path) -> None:
    # The tiny restorer adds 10 and masks what is above 200.
    engine = load(Manifest.load(tiny_models.write_models(tmp_path)).get("restore_mono"))
    pairs = [
        EvaluationPair(str(k), np.full((40, 60), 100 + k, np.uint8), np.full((40, 60), 110, np.uint8))
        for k in (9, 0, 5)
    ]
    pairs[2].wet[:, :30] = 220
    sheet = before_after(engine, pairs, evaluate(engine, pairs), rows=2)
    assert sheet.shape == (BAR + 2 * (BAR + HEIGHT), 4 * round(60 * HEIGHT / 40), 3)
    width = sheet.shape[1] // 4
    pictures = [
        [sheet[BAR + r * (BAR + HEIGHT) + BAR + HEIGHT // 2, c * width + width // 4] for c in range(4)]
        for r in range(2)
    ]
    assert [int(p[0]) for p in pictures[0]] == [109, 119, 0, 110], "the one made worse comes first"
    assert [int(p[0]) for p in pictures[1]] == [100, 110, 0, 110]


def test_scenes_with_methods_side_by_side() -> None:
    scenes = [
        FusionScene("wide", np.full((40, 60), 50, np.uint8), np.full((40, 60), 90, np.uint8)),
        FusionScene("square", np.full((40, 40), 10, np.uint8), np.full((40, 40), 20, np.uint8)),
    ]
    sheet = side_by_side(scenes, {"ours": lambda scene: scene.visible + 5, "theirs": lambda scene: scene.infrared + 7})
    wide, square = round(60 * HEIGHT / 40), HEIGHT
    assert sheet.shape == (2 * (BAR + HEIGHT), 4 * wide, 3)
    rows = [(BAR + HEIGHT // 2, wide, [50, 90, 55, 97]), (2 * BAR + HEIGHT + HEIGHT // 2, square, [10, 20, 15, 27])]
    for y, width, values in rows:
        assert [int(sheet[y, k * width + width // 2, 0]) for k in range(4)] == values
    assert sheet[-1, -1].tolist() == [0, 0, 0], "black beside the narrower scene"
