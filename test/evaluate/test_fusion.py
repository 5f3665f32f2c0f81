"""Methods of fusion against each other: folders, tables, mistakes, and published results on real pairs."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from derain_ros.evaluate.fusion import (
    METRICS,
    TABLES,
    FusionScene,
    evaluate,
    find,
    fused_by,
    markdown,
    spread,
    write_csv,
)
from derain_ros.evaluate.fusion_baselines import BASELINES, average, maximum
from derain_ros.evaluate.fusion_metrics import edge_preservation, sum_of_correlations_of_differences
from derain_ros.evaluate.fusion_structure import visual_information_fidelity
from derain_ros.evaluate.restoration import EvaluationError

DATA = Path(os.environ.get("DERAIN_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
PEERS = DATA / "fusion_peers"
RNG = np.random.default_rng(0)
A, B = (cv2.GaussianBlur(RNG.integers(0, 256, (60, 64), dtype=np.uint8), (0, 0), 2) for _ in range(2))


def write_pairs(folder: Path, visible: str = "visible", names: tuple[str, ...] = ("a", "b")) -> Path:
    """Two scenes, visible in colour, as JPEG and PNG; the second the first the other way round."""
    for place in (visible, "infrared"):
        (folder / place).mkdir(parents=True)
    for k, name in enumerate(names):
        first, second = (A, B) if k % 2 == 0 else (B, A)
        cv2.imwrite(str(folder / visible / f"{name}.png"), cv2.cvtColor(first, cv2.COLOR_GRAY2BGR))
        cv2.imwrite(str(folder / "infrared" / f"{name}.bmp"), second)
    return folder


def test_folders_of_sources_and_methods(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path)
    (folder / "ours").mkdir()
    (folder / "notes").mkdir()
    for name in "ab":
        cv2.imwrite(str(folder / f"ours/{name}.png"), A)
    found = find(folder)
    assert found.names == ["a", "b"] and list(found.fused) == ["ours"], "a folder without images is no method"
    scene = found.scene("b")
    assert np.array_equal(scene.visible, B) and np.array_equal(scene.infrared, A)
    methods = found.methods()
    assert list(methods) == ["ours", *BASELINES]
    assert np.array_equal(methods["ours"](scene), A)
    assert np.array_equal(methods["maximum"](scene), np.maximum(A, B))


def test_clean_images_stand_for_visible_ones_and_rain_is_no_method(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path, "clean")
    (folder / "rain").mkdir()
    cv2.imwrite(str(folder / "rain/a.png"), A)
    assert find(folder).names == ["a", "b"] and not find(folder).fused


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="contains no folders of visible and infrared"):
        find(tmp_path)
    (tmp_path / "empty/visible").mkdir(parents=True)
    (tmp_path / "empty/infrared").mkdir()
    with pytest.raises(EvaluationError, match="contains no images"):
        find(tmp_path / "empty")
    folder = write_pairs(tmp_path / "pairs", names=("a", "b", "c"))
    (folder / "ours").mkdir()
    cv2.imwrite(str(folder / "ours/b.png"), A)
    with pytest.raises(EvaluationError, match="ours: has no image for a.png in .* and for 1 more"):
        find(folder)
    for name in "ac":
        cv2.imwrite(str(folder / f"ours/{name}.png"), A)
    (folder / "infrared/c.bmp").unlink()
    with pytest.raises(EvaluationError, match="infrared: has no image for c.png"):
        find(folder)
    (folder / "visible/c.png").unlink()
    (folder / "visible/b.png").rename(folder / "visible/d.png")
    with pytest.raises(EvaluationError, match="infrared: has no image for d.png"):
        find(folder)
    (folder / "visible/d.png").unlink()
    with pytest.raises(EvaluationError, match="visible: has no image for b.bmp"):
        find(folder)
    (folder / "infrared/b.bmp").unlink()
    (folder / "ours").rename(folder / "average")
    with pytest.raises(EvaluationError, match="average is the name of a built-in method"):
        find(folder)


def test_sizes_that_do_not_fit_are_told(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path)
    cv2.imwrite(str(folder / "infrared/a.bmp"), A[:, :62])
    cv2.imwrite(str(folder / "infrared/b.bmp"), A[:40])
    cv2.imwrite(str(folder / "visible/b.png"), A[:40])
    with pytest.raises(EvaluationError, match="a: the visible image has 64x60 pixels, but the infrared one 62x60"):
        find(folder).scene("a")
    with pytest.raises(EvaluationError, match="b.png: 64x40 pixels; figures need at least 44"):
        find(folder).scene("b")
    with pytest.raises(EvaluationError, match=r"small: its image of s is uint8 \(30, 32\); it has to be uint8 \(60"):
        list(evaluate([FusionScene("s", A, B)], {"small": lambda scene: scene.visible[::2, ::2]}))
    with pytest.raises(EvaluationError, match="floats: its image of s is float64"):
        list(evaluate([FusionScene("s", A, B)], {"floats": lambda scene: scene.visible / 255}))


def test_tables_and_csv(tmp_path: Path) -> None:
    scenes = [FusionScene("a", A, B), FusionScene("b", B, A)]
    # Any function of two grey images is a method.
    scores = list(evaluate(scenes, {"ours": fused_by(lambda visible, infrared: visible), "mean": fused_by(average)}))
    assert [(s.method, s.scene) for s in scores] == [("ours", "a"), ("mean", "a"), ("ours", "b"), ("mean", "b")]
    assert all(list(s.figures) == list(METRICS) and np.isfinite(list(s.figures.values())).all() for s in scores)
    assert scores[1].figures["ssim"] == pytest.approx(scores[3].figures["ssim"]), "sources may change places"
    write_csv(scores, tmp_path / "fusion.csv")
    with (tmp_path / "fusion.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 and float(rows[2]["vif"]) == scores[2].figures["vif"]
    table = markdown(scores)
    assert "over 2 pairs" in table and table.count("| ours |") == table.count("| mean |") == len(TABLES)
    mean = (scores[0].figures["qabf"] + scores[2].figures["qabf"]) / 2
    assert f"| {mean:.3f} (" in table
    for lines in table.split("\n\n"):
        assert len({line.count("|") for line in lines.splitlines() if line.startswith("|")}) <= 1


def test_every_figure_is_in_one_table() -> None:
    assert sorted(key for keys in TABLES.values() for key in keys) == sorted(METRICS)


def test_scenes_are_spread() -> None:
    names = [str(k) for k in range(10)]
    assert spread(names, 3) == ["0", "4", "9"] and spread(names, 1) == ["0"] and spread(names, 20) == names


@pytest.mark.skipif(not PEERS.is_dir(), reason=f"no fused images at {PEERS}; set DERAIN_DATA to the data folder")
def test_published_methods_come_near_what_others_measured() -> None:
    # Qabf and VIF of eleven pairs of TNO, of which six are here.
    others = {
        "seafusion": (0.485, 0.706),
        "piafusion": (0.543, 0.734),
        "u2fusion": (0.415, 0.592),
        "densefuse": (0.435, 0.631),
        "ifcnn": (0.475, 0.589),
        "rfn_nest": (0.349, 0.543),
        "guided": (0.604, 0.882),
        "maximum": (0.596, 0.907),
        "average": (0.332, 0.531),
    }
    found = find(PEERS)
    measures = (edge_preservation, visual_information_fidelity, sum_of_correlations_of_differences)
    figures = {}
    for name, method in found.methods().items():
        each = [
            [measure(s.visible, s.infrared, method(s)) for measure in measures] for s in map(found.scene, found.names)
        ]
        figures[name] = np.mean(each, axis=0)
    for name, expected in others.items():
        assert figures[name][:2] == pytest.approx(expected, abs=0.045), name
    for column in (0, 1):
        ours, theirs = ([figures[name][column] for name in others], [pair[column] for pair in others.values()])
        ranks = [np.argsort(np.argsort(values)) for values in (ours, theirs)]
        assert np.corrcoef(*ranks)[0, 1] > 0.9, "the same order but for neighbours"
        by_quality = sorted(others, key=lambda name: figures[name][column])
        assert set(by_quality[:2]) == {"average", "rfn_nest"} and set(by_quality[-2:]) == {"guided", "maximum"}
        assert by_quality[-3] == "piafusion"
    assert all(1.4 < values[2] < 1.9 for values in figures.values()), "SCD"


@pytest.mark.skipif(not (DATA / "roadscene_rain").is_dir(), reason=f"no data at {DATA}; set DERAIN_DATA")
def test_averages_of_road_scenes_come_near_the_paper_s_row() -> None:
    # The third paper's own row, of other scenes of the same kind, lies near to plain averaging, figure by figure.
    printed = {
        "mi": 2.9556,
        "vif": 0.5766,
        "cc": 0.6501,
        "mse": 0.0275,
        "ssim_printed": 0.4909,
        "mef_ssim": 0.8885,
        "psnr_printed": 64.71,
        "fmi_edge": 0.8620,
        "fmi_dct": 0.3632,
        "fmi_wavelet": 0.3946,
    }
    found = find(DATA / "roadscene_rain/train")
    for key, value in printed.items():
        names = spread(found.names, 4 if key.startswith("fmi") else 20)
        figures = [
            METRICS[key].measure(s.visible, s.infrared, average(s.visible, s.infrared)) for s in map(found.scene, names)
        ]
        assert np.mean(figures) == pytest.approx(value, rel=0.12), key


@pytest.mark.skipif(not (DATA / "msrs").is_dir(), reason=f"no data at {DATA}; set DERAIN_DATA to the data folder")
def test_colour_pairs_of_roads() -> None:
    found = find(DATA / "msrs/train")
    scene = found.scene(found.names[0])
    assert scene.visible.shape == scene.infrared.shape == (480, 640) and not found.fused
    fused = maximum(scene.visible, scene.infrared)
    assert 0.5 < edge_preservation(scene.visible, scene.infrared, fused) < 0.8
