"""`derain train`, `export` and `evaluate`: a whole round on a small folder, and mistakes that are told."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_models import write_models
from typer.testing import CliRunner

from derain_ros.cli.main import app
from derain_ros.cli.train import read_phases
from derain_ros.train.recipe import RECIPES

pytest.importorskip("torch", reason="training needs the extra `train`")


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and output of `derain` with these arguments."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.output


def test_trains_exports_and_evaluates(data_folder: Path, tmp_path: Path) -> None:
    recipe, models = tmp_path / "recipe.yaml", tmp_path / "models"
    recipe.write_text("{width: 16, blocks: 1, steps: 4, batch: 2, crop: 64, synthetic: 2, validate_every: 2}")
    code, output = run("train", "restore", "--data", data_folder, "--output", tmp_path / "run", "--config", recipe)
    assert code == 0 and "last.pt" in output
    code, output = run("export", tmp_path / "run/last.pt", "restore_mono", "--grey", "--models", models)
    assert code == 0 and (models / "restore_mono.onnx").is_file()
    folder = data_folder / "raindrop_real/train"
    code, output = run("evaluate", "restoration", "restore_mono", folder / "rain", folder / "clean", "--models", models,
                       "--prefix", "2400_", "--output", tmp_path / "figures.csv")
    assert code == 0 and "| restore_mono | 1 |" in output
    assert len((tmp_path / "figures.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(("text", "told"), [("stepps: 3", "stepps: no such hyper-parameter"),
                                            ("steps: many", "'many' is not of type int"),
                                            ("unlabelled: here", "'here' is not of type tuple"),
                                            ("phases: 3", "phases: must be a list"),
                                            ("phases: [{stepps: 3}]", "stepps: no such hyper-parameter"),
                                            ("3", "names and values"), ("a: [", "cannot be read")])
def test_a_recipe_that_does_not_fit_is_told(text: str, told: str, data_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    code, output = run("train", "restore", "--data", data_folder, "--output", tmp_path, "--config",
                       tmp_path / "recipe.yaml")
    assert code == 2 and told in output


@pytest.mark.parametrize(("text", "told"), [("network: huge", "'huge' is neither fast nor printed"),
                                            ("crop: 100", "crop: 100 is not a multiple of 32"),
                                            ("steps: 0", "steps: 0 is not above 0"),
                                            ("unlabelled: [here]", "without a `teacher`")])
def test_a_recipe_that_cannot_be_trained_with_is_told(text: str, told: str, data_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    code, output = run("train", "restore", "--data", data_folder, "--output", tmp_path, "--config",
                       tmp_path / "recipe.yaml")
    assert code == 1 and told in output


def test_shipped_recipes() -> None:
    recipes = {path.stem: read_phases(Path(path.stem)) for path in RECIPES.glob("*.yaml")}
    assert recipes.keys() == {"balanced", "fast", "quality", "paper"}
    assert (recipes["fast"][0].width, recipes["fast"][0].blocks) == (32, 6) and recipes["fast"][0].teacher
    synthetic, real = recipes["paper"]
    assert (synthetic.real_share, real.real_share, real.patience, real.learning_rate, real.batch) == (0, 1, 10, 2e-4, 8)
    assert real.network == "printed" and real.adversarial and real.enhancer and real.aggregation


def test_no_data_is_told(tmp_path: Path) -> None:
    code, output = run("train", "restore", "--data", tmp_path, "--output", tmp_path / "run")
    assert code == 1 and "Looked for:" in output and "RainDS" in output


def test_evaluation_of_what_is_not_there_is_told(tmp_path: Path) -> None:
    models = write_models(tmp_path / "models")
    code, output = run("evaluate", "restoration", "restore_mono", tmp_path, tmp_path, "--models", models)
    assert code == 1 and "holds no .png or .jpg" in output
    code, output = run("evaluate", "restoration", "nonesuch", tmp_path, tmp_path, "--models", models)
    assert code == 1 and "nonesuch: no such model" in output
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 40), np.uint8))
    code, output = run("evaluate", "restoration", "detect", tmp_path, tmp_path, "--models", models)
    assert code == 1 and "detect: its task is to detect" in output
