"""The trainings that are compared: they keep to their data, differ only in what they should, and are taken up."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.evaluate import trials  # noqa: E402
from derain_ros.evaluate.restoration import Pair  # noqa: E402
from derain_ros.nets.printed import PrintedRestorer  # noqa: E402
from derain_ros.train.checkpoint import load_network  # noqa: E402
from derain_ros.train.data import DataError  # noqa: E402
from derain_ros.train.recipe import RestoreRecipe  # noqa: E402

TINY = RestoreRecipe(network="printed", adversarial=True, average=0.0, steps=1, validate_every=1, patience=2, batch=2,
                     crop=32, synthetic=2)


def test_real_pairs_are_split_by_frame(data_folder: Path, tmp_path: Path) -> None:
    real = trials.RealPairs.load(data_folder)
    assert sorted(p.name for p in real.test) == ["2400_80_1.png", "7200_240_3.png"]
    assert len(real.validate) == len(real.train) == 1
    images = [p.clean for p in (*real.train, *real.validate, *real.test)]
    assert len({image.tobytes() for image in images}) == 4
    assert real.train[0].mask.any()
    with pytest.raises(DataError, match="holds no"):
        trials.RealPairs.load(tmp_path)
    for folder in ("rain", "clean"):
        (tmp_path / "raindrop_real/train" / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "raindrop_real/train" / folder / "1_1.png"), np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(DataError, match="begins with one of 2400_"):
        trials.RealPairs.load(tmp_path)


def test_scores_a_network() -> None:
    class Darker(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> object:
            return PrintedRestorer(3)(image)._replace(restored=image - 10 / 255)

    clean = np.random.default_rng(0).integers(20, 200, (32, 32, 3), dtype=np.uint8)
    score, = trials.score(Darker(), [Pair("a", clean + 10, clean)])  # type: ignore[arg-type]
    assert score.psnr == 100.0 and score.input_psnr == pytest.approx(28.13, abs=0.01)


def test_ablation_trains_three_forms_alike(data_folder: Path, tmp_path: Path) -> None:
    rows = trials.ablation(data_folder, tmp_path, TINY)
    assert list(rows) == ["G", "G+E", "G+E+A"] and all(len(scores) == 2 for scores in rows.values())
    for folder, enhancer, aggregation in (("g", False, False), ("g_e", True, False), ("g_e_a", True, True)):
        net = load_network(tmp_path / folder / "real/best.pt")
        assert (net.enhancer is not None, net.generator.aggregation) == (enhancer, aggregation)
        assert (tmp_path / folder / "synthetic/best.pt").is_file()
    # What is done is not done again.
    before = [p.stat().st_mtime_ns for p in sorted(tmp_path.rglob("*.pt"))]
    assert trials.ablation(data_folder, tmp_path, TINY) == rows
    assert [p.stat().st_mtime_ns for p in sorted(tmp_path.rglob("*.pt"))] == before


def test_initialisation_differs_in_the_first_weights(data_folder: Path, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    begins = []
    fit = trials.fit

    def watch(fabric: object, source: object, images: object, output: Path, recipe: RestoreRecipe,
              perceptual: object) -> tuple[str, bool]:
        begins.append((recipe.start_from, recipe.real_share, recipe.sharp_drops))
        return fit(fabric, source, images, output, recipe, perceptual)  # type: ignore[arg-type]

    monkeypatch.setattr(trials, "fit", watch)
    rows = trials.initialisation(data_folder, tmp_path, TINY)
    assert list(rows) == ["Random", "Sharp drops", "Our drops"]
    assert begins == [("", 1.0, False), ("", 0.0, True), (str(tmp_path / "sharp_drops/synthetic/best.pt"), 1.0, False),
                      ("", 0.0, False), (str(tmp_path / "our_drops/synthetic/best.pt"), 1.0, False)]
