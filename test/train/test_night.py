"""Paper 3's two stages, trained on a few tiny triplets: losses by hand, checkpoints, what does not fit."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_pictures import write_triplets

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

import cv2  # noqa: E402
from torch import Tensor  # noqa: E402

from derain_ros.data.night import draw_crop, triplets  # noqa: E402
from derain_ros.data.samples import DataError  # noqa: E402
from derain_ros.nets.fusionnet import Refined  # noqa: E402
from derain_ros.publish.export import ExportError, task_of  # noqa: E402
from derain_ros.train.loop import Machine, train_phases  # noqa: E402
from derain_ros.train.night import NightRecipe, clean_and_fuse, load_cleaner, load_fusion, train  # noqa: E402
from derain_ros.train.night_losses import (  # noqa: E402
    INFORMATION,
    SQUARES,
    information_weights,
    refinement_loss,
    similarity_loss,
)

TINY = NightRecipe(width=8, blocks=(1, 1), fusion_width=4, batch=2, crop=32, steps=4, warm_up=1, validate_every=2)
CPU = Machine("cpu", precision="32-true")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_triplets(tmp_path_factory.mktemp("night"))


def test_triplets_are_of_one_view_and_held_out_with_the_pairs(data: Path) -> None:
    parts = [triplets(data, split) for split in ("train", "validation", "test")]
    names = [{path.name for path in part} for part in parts]
    assert all(names) and not names[0] & (names[1] | names[2])
    assert all(p.wet.name == p.clean.name == p.infrared.name for part in parts for p in part)
    wet, clean, infrared = draw_crop(parts[0], 48, np.random.default_rng(2))
    assert wet.shape == clean.shape == (48, 48, 3) and infrared.shape == (48, 48)
    grey = cv2.cvtColor(clean, cv2.COLOR_RGB2GRAY).astype(int)
    assert np.abs(255 - grey - infrared).max() <= 1, "all three are cut and mirrored alike"
    assert np.abs(wet.astype(int) - clean).max() > 50
    with pytest.raises(DataError, match="fewer than the crop of 999"):
        draw_crop(parts[0], 999, np.random.default_rng(0))
    (data / "roadscene_rain/train/infrared" / parts[0][0].infrared.name).rename(data / "away.png")
    with pytest.raises(DataError, match="lacks the infrared image"):
        triplets(data, "train")
    (data / "away.png").rename(parts[0][0].infrared)


def test_both_stages_are_trained_and_taken_up(data: Path, tmp_path: Path) -> None:
    phases = [TINY, replace(TINY, stage="fuse")]
    last = train_phases(lambda recipe, folder: train(data, folder, recipe, CPU), tmp_path, phases)
    assert last == tmp_path / "2/last.pt"
    for folder, key in (("1", "psnr"), ("2", "ssim")):
        lines = [json.loads(line) for line in (tmp_path / folder / "log.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == [2, 4] and all(math.isfinite(line[key]) for line in lines)
    cleaner, fusion = load_cleaner(last), load_fusion(last)
    first = load_cleaner(tmp_path / "1/last.pt")
    assert all(torch.equal(a, b) for a, b in zip(cleaner.parameters(), first.parameters(), strict=True)), "frozen"
    triplet = triplets(data, "test")[0].read()
    cleaned, fused = clean_and_fuse(cleaner, fusion, triplet)
    assert cleaned.shape == triplet.wet.shape and fused.shape == triplet.infrared.shape and fused.dtype == np.uint8
    # A training that is cut goes on to the same weights.
    cut = train(data, tmp_path / "cut", replace(TINY, steps=2), CPU)
    assert torch.load(cut, weights_only=True)["step"] == 2
    with pytest.raises(ExportError, match="task night, which is measured by `derain table`"):
        task_of(last)
    with pytest.raises(DataError, match="holds no FusionNet"):
        load_fusion(tmp_path / "1/last.pt")


def test_cleannet_learns(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path, replace(TINY, steps=60, validate_every=30, learning_rate=3e-3), CPU)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"] and lines[-1]["psnr"] > lines[-1]["input_psnr"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"stage": "wash"}, "'wash' is neither clean nor fuse"),
        ({"crop": 30}, "crop: 30 is not a multiple of 8"),
        ({"width": 7}, "width: 7 must be even"),
        ({"blocks": ()}, "blocks"),
    ],
)
def test_recipes_that_do_not_fit_are_told(values: dict[str, object], told: str) -> None:
    with pytest.raises(DataError, match=told):
        replace(TINY, **values)  # type: ignore[arg-type]


def test_the_second_stage_needs_the_first(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs the checkpoint of the stage before"):
        train(data, tmp_path, replace(TINY, stage="fuse"), CPU)


def test_sources_weigh_by_the_information_in_their_features() -> None:
    flat = torch.full((2, 1, 8, 8), 0.5)
    stripes = (torch.arange(8) % 2).float().expand(2, 1, 8, 8)

    def features(image: Tensor) -> list[Tensor]:
        return [image, 2 * image]

    weights = information_weights(flat, stripes, features)
    # Across, neighbours differ by 1 and by 2; downwards not at all.
    expected = torch.tensor([0.0, (1 + 4) / 2 / INFORMATION]).softmax(0)
    assert torch.allclose(weights, expected.expand(2, 2))
    assert torch.equal(information_weights(flat, stripes, None), torch.full((2, 2), 0.5))


def test_similarity_is_to_both_sources_by_their_weights() -> None:
    white, black = torch.ones(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    only_visible = similarity_loss(white, white, black, torch.tensor([[1.0, 0.0]]))
    assert only_visible == pytest.approx(0.0, abs=1e-5)
    dissimilar = 1 - 0.01**2 / (1 + 0.01**2)
    assert similarity_loss(white, white, black, torch.tensor([[0.0, 1.0]])) == pytest.approx(dissimilar + SQUARES)


def test_the_refinement_wants_smooth_illuminations_close_to_the_fused_image() -> None:
    fused = torch.full((1, 1, 8, 8), 0.5)
    assert refinement_loss(fused, Refined([fused], [fused])) == pytest.approx(0.0)
    assert refinement_loss(fused, Refined([fused], [fused + 0.2])) == pytest.approx(1.5 * 0.04)
    stripes = 0.5 + 0.1 * (torch.arange(8) % 2).float().expand(1, 1, 8, 8)
    assert refinement_loss(fused, Refined([fused], [stripes])) == pytest.approx(1.5 * 0.005 + 0.1)
