"""`derain train restore`: in phases, up to the exported model, and mistakes that are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from derain_ros.cli.main import app
from derain_ros.cli.recipes import read_phases
from derain_ros.train.detector import DetectRecipe
from derain_ros.train.night import NightRecipe
from derain_ros.train.recipe import RECIPES, RestoreRecipe
from derain_ros.train.task_driven import TaskDrivenRecipe

pytestmark = pytest.mark.usefixtures("quick_exports")

pytest.importorskip("torch", reason="training needs the extra `train`")


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and output of `derain` with these arguments."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.output


def test_trains_in_phases_and_exports(data_folder: Path, tmp_path: Path) -> None:
    recipe, models = tmp_path / "recipe.yaml", tmp_path / "models"
    recipe.write_text(
        "{width: 16, blocks: 1, steps: 2, batch: 2, crop: 64, synthetic: 2, validate_every: 2, "
        "phases: [{real_share: 0.0}, {real_share: 1.0}]}"
    )
    code, output = run(
        "train",
        "restore",
        "--data",
        data_folder,
        "--data",
        data_folder,
        "--output",
        tmp_path / "run",
        "--config",
        recipe,
        "--accelerator",
        "cpu",
    )
    assert code == 0 and (tmp_path / "run/1/last.pt").is_file()
    told = "".join(output.split("\n"))
    assert f"derain export {tmp_path}/run/2/last.pt restore_rgb --data {data_folder}" in told
    for told in ("restore_mono.onnx; measure it with", "restore_mono.onnx in place of the former one; measure it with"):
        code, output = run("export", tmp_path / "run/2/last.pt", "restore_mono", "--grey", "--models", models)
        assert code == 0 and (models / "restore_mono.onnx").is_file()
        assert f"{told} --models {models}" in " ".join(output.split())


def test_a_trained_network_is_tuned_to_images_of_ones_own(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from derain_ros.train import checkpoint as exported
    from derain_ros.train.checkpoint import read

    recipe, models = tmp_path / "recipe.yaml", tmp_path / "models"
    recipe.write_text(
        "{width: 64, steps: 1, batch: 2, crop: 64, synthetic: 2, learning_rate: 0.0, average: 0.0, "
        "phases: [{}, {seed: 2}]}"
    )
    code, output = run(
        "train",
        "restore",
        "--data",
        data_folder,
        "--output",
        tmp_path / "run",
        "--accelerator",
        "cpu",
        "--precision",
        "32-true",
        "--config",
        recipe,
        "--start-from",
        "restore_rgb",
    )
    assert code == 0, output
    first, second = (read(tmp_path / f"run/{number}/last.pt") for number in (1, 2))
    assert (first["recipe"]["width"], first["recipe"]["start_from"]) == (32, "restore_rgb")
    assert second["recipe"]["start_from"] == str(tmp_path / "run/1/last.pt")
    # At a rate of nothing it stays what it was.
    shipped = read(Path("restore_rgb"))["net"]
    assert all(np.array_equal(weights, shipped[name]) for name, weights in second["net"].items())
    before = second["origin"], first["origin"]
    assert before[0] == "" and before[1].startswith("restore_rgb (sha256 ")
    monkeypatch.setattr(exported, "shipped", lambda name, task: None)  # replaced meanwhile
    code, output = run("export", tmp_path / "run/2/last.pt", "restore_rgb", "--models", models)
    assert code == 0, output
    assert f"begins with the weights of {before[1]}, whose card" in (models / "restore_rgb.md").read_text()


def test_without_a_recipe_it_is_tuned_at_a_low_rate(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from derain_ros.train import restore

    asked: list[Any] = []
    monkeypatch.setattr(restore, "train", lambda data, output, recipe, machine: asked.append(recipe))
    run("train", "restore", "--data", data_folder, "--output", tmp_path, "--start-from", "restore_rgb_quality")
    assert (asked[0].network, asked[0].start_from) == ("fast", "restore_rgb_quality")
    assert asked[0].learning_rate < type(asked[0]).learning_rate and asked[0].steps < type(asked[0]).steps
    code, output = run("train", "restore", "--data", data_folder, "--output", tmp_path, "--start-from", "restored")
    assert code == 1 and "nor a shipped restorer of that name" in output


def test_a_detector_is_tuned_to_pictures_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from derain_ros.train import detector

    asked: list[Any] = []

    def train(data: Path, output: Path, recipe: Any, machine: Any) -> Path:
        asked.append(recipe)
        return output / "last.pt"

    monkeypatch.setattr(detector, "train", train)
    config = tmp_path / "recipe.yaml"
    config.write_text("{views: 7, start_from: here}")
    for more in (
        (),
        ("--start-from", "detect_float"),
        ("--config", config),
        ("--config", config, "--start-from", "detect_float"),
    ):
        code, output = run("train", "detect", "--data", tmp_path, "--output", tmp_path / "run", *more)
        assert code == 0 and "derain export" in output
    whole, tuned, own, both = asked
    assert whole == detector.DetectRecipe() and tuned.start_from == "detect_float"
    assert tuned.learning_rate < whole.learning_rate and tuned.views < whole.views and tuned.steps < whole.steps
    assert (own.views, own.start_from) == (7, "here") and (both.views, both.start_from) == (7, "detect_float")


@pytest.mark.parametrize(("option", "value"), [("--precision", "half"), ("--accelerator", "abacus")])
def test_what_fabric_does_not_know_is_a_wrong_call(data_folder: Path, tmp_path: Path, option: str, value: str) -> None:
    code, output = run("train", "restore", "--data", data_folder, "--output", tmp_path, option, value)
    assert code == 2 and f"'{value}' is none of" in output


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("stepps: 3", "stepps: no such hyper-parameter"),
        ("steps: many", "'many' is not of type int"),
        ("unlabelled: here", "'here' is not of type tuple"),
        ("unlabelled: [1]", "of type tuple"),
        ("phases: 3", "phases: must be a list"),
        ("phases: [{stepps: 3}]", "stepps: no such hyper-parameter"),
        ("3", "names and values"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_recipe_that_does_not_fit_is_told(text: str, told: str, data_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    code, output = run(
        "train", "restore", "--data", data_folder, "--output", tmp_path, "--config", tmp_path / "recipe.yaml"
    )
    assert code == 2 and told in output


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("network: huge", "'huge' is neither fast nor printed"),
        ("anomaly: snow", "'snow' is neither drops nor rain"),
        ("crop: 100", "crop: 100 is not a multiple of 32"),
        ("steps: 0", "steps: 0 is not above 0"),
        ("real_share: 45", "real_share: 45 is not between 0 and 1"),
        ("learning_rate: -6e-3", "learning_rate: -0.006 is below 0"),
        ("unlabelled: [here]", "without a `teacher`"),
    ],
)
def test_a_recipe_that_cannot_be_trained_with_is_told(text: str, told: str, data_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    code, output = run(
        "train", "restore", "--data", data_folder, "--output", tmp_path, "--config", tmp_path / "recipe.yaml"
    )
    assert code == 1 and told in output


def test_shipped_recipes() -> None:
    kinds = {"tune_detector": DetectRecipe}
    kinds |= dict.fromkeys(("night", "night_small"), NightRecipe)
    kinds |= dict.fromkeys(("task_driven", "task_driven_small"), TaskDrivenRecipe)
    recipes = {
        path.stem: read_phases(Path(path.stem), kinds.get(path.stem, RestoreRecipe)) for path in RECIPES.glob("*.yaml")
    }
    assert recipes.keys() == {"quality", "balanced", "light", "paper", "rain", "tune", "segmentation", *kinds}
    assert recipes["tune_detector"][0].steps == 1500
    clean, fuse = recipes["night"]
    assert (clean.width, clean.blocks, clean.stage, fuse.stage) == (48, (4, 6, 6, 8), "clean", "fuse")
    first, second = recipes["task_driven"]
    assert (first.stage, first.semantic, second.stage, second.semantic) == ("coarse", 0, "refine", 1)
    recipes = {name: phases for name, phases in recipes.items() if name not in kinds}
    sizes = {
        name: (recipe.width, recipe.blocks, recipe.deep, recipe.scale, bool(recipe.teacher))
        for name, (recipe, *_) in recipes.items()
    }
    assert sizes["quality"] == (64, 9, 6, 1, False) and sizes["balanced"] == (32, 6, 0, 1, True)
    assert sizes["light"] == (32, 6, 0, 2, True)
    assert (recipes["rain"][0].anomaly, recipes["rain"][0].width, recipes["rain"][0].blocks) == ("rain", 32, 6)
    synthetic, real = recipes["paper"]
    assert (synthetic.real_share, real.real_share, real.patience, real.learning_rate, real.batch) == (0, 1, 10, 2e-4, 8)
    assert real.network == "printed" and real.adversarial and real.enhancer and real.aggregation


def test_no_data_is_told(tmp_path: Path) -> None:
    code, output = run("train", "restore", "--data", tmp_path, "--output", tmp_path / "run")
    assert code == 1 and "Looked for:" in output and "RainDS" in output


def test_another_network_in_the_output_is_told_and_so_is_one_that_is_done(
    data_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for width, code, told in (
        (16, 0, ""),
        (16, 0, "nothing is left to train: it holds step 2"),
        (32, 1, "holds another network or training than the recipe's"),
    ):
        recipe = f"{{width: {width}, blocks: 1, steps: 2, batch: 2, crop: 64, synthetic: 2}}"
        (tmp_path / "recipe.yaml").write_text(recipe)
        result = run(
            "train",
            "restore",
            "--data",
            data_folder,
            "--output",
            tmp_path / "run",
            "--config",
            tmp_path / "recipe.yaml",
            "--accelerator",
            "cpu",
            "--precision",
            "32-true",
        )
        assert result[0] == code and told in " ".join((result[1] + caplog.text).split())


def test_pairs_that_cannot_be_used_are_told_all_at_once_and_first(tmp_path: Path) -> None:
    for n in range(4):
        for side in ("wet", "dry"):
            path = tmp_path / side / f"{n}.png"
            path.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(path), np.zeros((64, 96 if (n, side) == (2, "dry") else 64, 3), np.uint8))
    (tmp_path / "wet/3.png").write_bytes(b"no image")
    code, output = run("train", "restore", "--data", tmp_path, "--output", tmp_path / "run", "--accelerator", "cpu")
    output = " ".join(output.split())
    assert code == 1 and "2 of 4 pairs cannot be used" in output and not (tmp_path / "run").exists()
    assert "3.png: cannot be read" in output and "2.png differ in size: (64, 64) and (64, 96)" in output


def test_what_the_detector_lacks_is_told_all_at_once(data_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "camvid/train/image").mkdir(parents=True)
    code, output = run("train", "detect", "--data", tmp_path, "--output", tmp_path / "run")
    assert code == 1 and "roadscene_rain/train/rain" in output and "droplet_masks/train" in output
    assert "camvid/train/image" not in output
