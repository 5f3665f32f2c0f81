"""The table of paper 2: which trainings it compares, and what it says of rows whose figures are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_streets import write_streets

torch = pytest.importorskip("torch", reason="the tables need the extra `train`")

from derain_ros.cli.recipes import read_phases  # noqa: E402
from derain_ros.data.labelled import CAMVID, CITYSCAPES, labelled_scenes  # noqa: E402
from derain_ros.data.rainy_scenes import rainy_scenes  # noqa: E402
from derain_ros.data.samples import DataError  # noqa: E402
from derain_ros.papers import task_driven  # noqa: E402
from derain_ros.papers.task_driven import PRINTED, answers, markdown, measure, segmenters, trainings  # noqa: E402
from derain_ros.train.task_driven import TaskDrivenRecipe  # noqa: E402


def test_rows_differ_in_what_the_paper_compares() -> None:
    phases = read_phases(Path("task_driven_small"), TaskDrivenRecipe)
    rows = trainings(phases)
    assert list(rows) == list(PRINTED)[1:]
    assert [[(r.stage, r.semantic) for r in recipes] for recipes in rows.values()] == [
        [("coarse", 0)],
        [("coarse", 1)],
        [("coarse", 0), ("refine", 0)],
        [("joint", 1)],
        [("coarse", 0), ("refine", 1)],
    ]
    steps = sum(recipe.steps for recipe in phases)
    assert rows["A/C/R+OJT"][0].steps == steps == sum(recipe.steps for recipe in rows["A/C/R+TJT"])
    printed = read_phases(Path("task_driven"), TaskDrivenRecipe)
    assert [(r.stage, r.attention, r.crop, r.batch) for r in printed] == [
        ("coarse", 48, 512, 6),
        ("refine", 48, 512, 6),
    ]


def test_the_rain_of_a_scene_is_the_same_whatever_else_is_evaluated(tmp_path: Path) -> None:
    scenes = labelled_scenes(write_streets(tmp_path), "test")
    alone, all_of_them = rainy_scenes(scenes[1:2]), rainy_scenes(scenes)
    assert [scene.severity for scene in alone] == ["moderate", "heavy"]
    assert np.array_equal(alone[1].rainy(), all_of_them[3].rainy())
    assert not np.array_equal(alone[0].rainy(), alone[1].rainy())


def test_a_perfect_method_reaches_the_bound(tmp_path: Path) -> None:
    scenes = labelled_scenes(write_streets(tmp_path), "test")

    def judge(image: np.ndarray) -> np.ndarray:
        """Sky is blue, buildings are red, and road is neither."""
        red, blue = image[..., 0].astype(int), image[..., 2].astype(int)
        return np.where(blue > red + 25, 0, np.where(red > blue + 25, 1, 3)).astype(np.uint8)

    wet = {scene.rainy().tobytes(): scene.scene for scene in rainy_scenes(scenes)}

    def perfect(image: np.ndarray) -> np.ndarray:
        return wet[image.tobytes()].read()[0]

    rows = {"rainy": lambda image: image, "A/C/R": lambda image: image // 2, "A/C/R+TJT": perfect}
    found, dry = measure(scenes, rows, {"colours": judge})
    text = markdown(found, dry, CAMVID, "Trained by nobody.")
    table: dict[str, list[str]] = {}
    for line in text.splitlines()[2:]:
        if line.startswith("|"):
            name, *cells = (cell.strip() for cell in line.split("|")[1:-1])
            table.setdefault(name, cells)  # what comes again is of the table of classes
    assert found["A/C/R+TJT"].ssim == pytest.approx(1.0)
    bound = table["dry scenes, the bound"][4:6]
    assert bound == table["A/C/R+TJT"][4:6] and float(bound[0].split()[0]) > 90
    assert table["rainy"][-1] == "23.23, 0.8002, 34.5" and len(table["rainy"]) == 7
    assert float(table["rainy"][4].split()[0]) < float(bound[0].split()[0])
    (line,) = answers(found)
    assert line.startswith("- A/C/R+TJT against A/C/R: PSNR +") and "The paper: -0.04 dB, +0.81 points" in line
    assert "Trained by nobody." in text and "| sky | building |" in text


def test_a_judge_of_other_classes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    net = torch.nn.Conv2d(3, 3, 1)
    monkeypatch.setattr(task_driven, "load_segmenter", lambda path: (net, list(CAMVID)))
    assert list(segmenters({"judge": "segment"}, CAMVID, torch.device("cpu"))) == ["judge"]
    with pytest.raises(DataError, match="segment: tells sky, .* but the scenes are labelled with road"):
        segmenters({"judge": "segment"}, CITYSCAPES, torch.device("cpu"))
