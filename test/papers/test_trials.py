"""The trainings that are compared: they keep to their data, differ only in what they should, and are taken up."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.data.samples import DataError  # noqa: E402
from derain_ros.evaluate.restoration import EvaluationPair  # noqa: E402
from derain_ros.papers import trials  # noqa: E402
from derain_ros.train import restore  # noqa: E402
from derain_ros.train.checkpoint import build, read  # noqa: E402
from derain_ros.train.loop import Machine  # noqa: E402
from derain_ros.train.recipe import RestoreRecipe  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_exports")

TINY = RestoreRecipe(
    network="printed", adversarial=True, steps=1, validate_every=1, batch=2, crop=32, synthetic=2, real_share=0.0
)
PHASES = (TINY, RestoreRecipe(**{**asdict(TINY), "real_share": 1.0, "synthetic": 0}))
MACHINE = Machine("cpu", precision="32-true", workers=0)


@pytest.fixture(autouse=True)
def no_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore, "perceptual_features", lambda detector: None)


def test_pairs_to_validate_on_are_not_those_of_the_table(data_folder: Path, tmp_path: Path) -> None:
    folders = trials.split([data_folder])
    names = [sorted(p.wet.name for p in part) for part in (folders.train, folders.validation)]
    assert names == [["0_0_0.png"], ["800_26_1.png"]]
    for part in ("train", "test"):
        for side in ("rain", "clean"):
            (tmp_path / part / side).mkdir(parents=True)
    with pytest.raises(DataError):
        trials.ablation([tmp_path], tmp_path / "runs", PHASES, MACHINE)


def test_scores_a_network() -> None:
    class Darker(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> object:
            return build(asdict(TINY))(image)._replace(restored=image - 10 / 255)

    clean = np.random.default_rng(0).integers(20, 200, (33, 40, 3), dtype=np.uint8)
    (score,) = trials.score_network(Darker(), [EvaluationPair("a", clean + 10, clean)])
    assert score.psnr == 100.0 and score.input_psnr == pytest.approx(28.13, abs=0.01)


def test_ablation_trains_three_forms_alike(data_folder: Path, tmp_path: Path) -> None:
    rows = trials.ablation([data_folder], tmp_path, PHASES, MACHINE)
    assert list(rows) == ["G", "G+E", "G+E+A"] and all(len(scores) == 2 for scores in rows.values())
    for folder, enhancer, aggregation in (("g", False, False), ("g_e", True, False), ("g_e_a", True, True)):
        first, second = (read(tmp_path / folder / phase / "last.pt") for phase in ("1", "2"))
        assert (second["recipe"]["enhancer"], second["recipe"]["aggregation"]) == (enhancer, aggregation)
        assert not first["recipe"]["start_from"] and second["recipe"]["start_from"].endswith(f"{folder}/1/last.pt")
    # What is done is not done again.
    before = [p.stat().st_mtime_ns for p in sorted(tmp_path.rglob("*.pt"))]
    assert trials.ablation([data_folder], tmp_path, PHASES, MACHINE) == rows
    assert [p.stat().st_mtime_ns for p in sorted(tmp_path.rglob("*.pt"))] == before


def test_initialisation_differs_in_the_first_weights(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: dict[str, list[tuple[bool, float]]] = {}

    def watch(folders: object, output: Path, recipe: RestoreRecipe, machine: Machine) -> Path:
        name = output.relative_to(tmp_path).parts[0]
        trained.setdefault(name, []).append((recipe.sharp_drops, recipe.real_share))
        return Path("weights")

    monkeypatch.setattr(trials, "train_on", watch)
    monkeypatch.setattr(trials, "load_network", lambda path: build(asdict(TINY)).eval())
    rows = trials.initialisation([data_folder], tmp_path, PHASES, MACHINE)
    assert list(rows) == ["Random", "Sharp drops", "Our drops"]
    assert trained == {
        "random": [(False, 1.0)],
        "sharp_drops": [(True, 0.0), (False, 1.0)],
        "our_drops": [(False, 0.0), (False, 1.0)],
    }
    with pytest.raises(DataError, match="no phase on synthetic drops"):
        trials.initialisation([data_folder], tmp_path, PHASES[1:], MACHINE)
