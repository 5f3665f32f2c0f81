"""The fuser's learner: it trains, is validated, begins with the weights of another, and tells what does not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_fusion import write_pairs

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from typer.testing import CliRunner  # noqa: E402

from derain_ros.cli.main import app  # noqa: E402
from derain_ros.data.fusion import FusionSource, fusion_pairs  # noqa: E402
from derain_ros.data.samples import DataError  # noqa: E402
from derain_ros.publish.export import task_of  # noqa: E402
from derain_ros.train.fuse import FuseRecipe, FusionBatches, train  # noqa: E402
from derain_ros.train.loop import Machine  # noqa: E402

TINY = FuseRecipe(width=16, crop=64, batch=2, steps=4, warm_up=1, validate_every=2)
CPU = Machine("cpu", precision="32-true")


@pytest.fixture(scope="module")
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs"))


def test_trains_and_begins_with_the_weights_of_another_training(pairs_folder: Path, tmp_path: Path) -> None:
    whole = train(pairs_folder, tmp_path / "whole", TINY, CPU)
    lines = [json.loads(line) for line in (tmp_path / "whole/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert all(0 < line["qabf"] < 1 and 0 < line["vif"] < 2 for line in lines)
    assert lines[0]["both"] == pytest.approx(lines[0]["qabf"] + lines[0]["vif"] / 2)
    parts = [lines[0][name] for name in ("edges", "information", "gradient", "base", "flat", "correlation")]
    assert lines[0]["loss"] == pytest.approx(sum(parts), rel=1e-4)
    state = torch.load(whole, weights_only=True)
    assert task_of(whole) == "fuse" and state["step"] == 4
    assert state["data"] == ["14 pairs of roadscene", "14 pairs of msrs", "18 pairs of llvip"]

    half = train(pairs_folder, tmp_path / "half", replace(TINY, steps=2, warm_up=1), CPU)
    begun = train(pairs_folder, tmp_path / "begun", replace(TINY, start_from=str(half)), CPU)
    fresh = torch.load(half, weights_only=True)["average"]
    learnt = torch.load(begun, weights_only=True)
    assert learnt["origin"] == "an earlier training"
    gaps = [(learnt["average"][name] - value).abs().max().item() for name, value in fresh.items()]
    assert 0 < max(gaps) < 0.2, "it goes on from where the other ended"
    again = train(pairs_folder, tmp_path / "whole", TINY, CPU)
    assert torch.load(again, weights_only=True)["step"] == 4, "nothing is left to train"


def test_batches_are_the_same_whatever_draws_them(pairs_folder: Path) -> None:
    source = FusionSource(fusion_pairs(pairs_folder, "train"), 64, 1)
    batches = list(FusionBatches(source, range(2), range(3, 6)))
    assert [len(batch) for batch in batches] == [5, 5, 5] and batches[0][0].shape == (2, 64, 64)
    loaded = torch.utils.data.DataLoader(FusionBatches(source, range(2), range(3, 6)), batch_size=None, num_workers=2)
    for ours, theirs in zip(batches, loaded, strict=True):
        assert all(map(torch.equal, ours, theirs))
    assert np.array_equal(batches[1][2][0].numpy(), source.sample(4, 0).mask)


def test_what_does_not_fit_is_told(pairs_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="crop: 100 is not a multiple of 16"):
        replace(TINY, crop=100)
    with pytest.raises(DataError, match="base: -1.0 is below 0"):
        replace(TINY, base=-1.0)
    with pytest.raises(DataError, match="these folders are not there"):
        train(tmp_path, tmp_path / "run", TINY, CPU)
    narrow = train(pairs_folder, tmp_path / "narrow", replace(TINY, steps=2), CPU)
    with pytest.raises(DataError, match="another network than a fuser 32 filters wide"):
        train(pairs_folder, tmp_path / "wide", replace(TINY, width=32, start_from=str(narrow)), CPU)


def test_the_command_takes_a_recipe_and_says_what_is_next(pairs_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("{width: 16, crop: 64, batch: 2, steps: 2, validate_every: 2}")
    result = CliRunner().invoke(
        app,
        [
            "train",
            "fuse",
            "--data",
            str(pairs_folder),
            "--output",
            str(tmp_path / "run"),
            "--config",
            str(tmp_path / "recipe.yaml"),
            "--accelerator",
            "cpu",
        ],
    )
    assert result.exit_code == 0, result.output
    assert f"next: derain export {tmp_path / 'run/last.pt'} fuse --data {pairs_folder}" in result.output
