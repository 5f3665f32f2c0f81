"""Training of the detector on a tiny data folder drawn in the test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("rich")

from derain_ros.nets.detector import CLASSES, Detection, Detector  # noqa: E402
from derain_ros.train.data import DataError  # noqa: E402
from derain_ros.train.detector import DetectRecipe, Views, detection_loss, render_views, train, validate  # noqa: E402
from derain_ros.train.views import IGNORED, draw_view, find_pictures  # noqa: E402

TINY = DetectRecipe(views=48, validation_views=16, epochs=2, batch=16, workers=1)


def test_trains_and_writes_checkpoint_and_journal(data_folder: Path, tmp_path: Path) -> None:
    checkpoint = train(data_folder, tmp_path / "new" / "output", TINY)
    state = torch.load(checkpoint, weights_only=True)
    assert state["recipe"]["views"] == 48
    trained, fresh = Detector(), Detector()
    trained.load_state_dict(state["net"])
    assert not torch.equal(trained.mask.weight, fresh.mask.weight)
    lines = [json.loads(line) for line in (tmp_path / "new/output/detector.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert all(0 <= line[key] <= 1 for line in lines for key in ("accuracy", "false_alarms", "mask_iou"))


def test_missing_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="raindrop_real"):
        train(tmp_path, tmp_path / "output", TINY)


def test_number_and_seed_decide_each_view(data_folder: Path) -> None:
    pictures = find_pictures(data_folder, validation=False)
    views = render_views(pictures, 103, seed=5, workers=2)
    for number in (0, 102):  # of the first chunk and of the last
        expected = draw_view(pictures, np.random.default_rng((5, number)))
        assert np.array_equal(views.images[number].numpy(), expected.image)
        assert np.array_equal(views.cells[number].numpy(), expected.cells)
        assert views.labels[number] == expected.label


def test_loss_ignores_what_is_not_known() -> None:
    labels = torch.tensor([1, -1])
    cells = torch.tensor([[[0, 1]], [[IGNORED, 1]]], dtype=torch.uint8)
    classes, mask = torch.zeros(2, len(CLASSES)), torch.zeros(2, 1, 2)
    before = detection_loss(Detection(classes, mask), labels, cells, TINY)
    unknown_class, unknown_cell = classes.clone(), mask.clone()
    unknown_class[1, 2], unknown_cell[1, 0, 0] = 9.0, 9.0
    assert detection_loss(Detection(unknown_class, unknown_cell), labels, cells, TINY) == before
    known_class, known_cell = classes.clone(), mask.clone()
    known_class[0, 1], known_cell[0, 0, 1] = 2.0, 2.0
    assert detection_loss(Detection(known_class, mask), labels, cells, TINY) < before
    assert detection_loss(Detection(classes, known_cell), labels, cells, TINY) < before


def test_validation_counts() -> None:
    class Fixed(Detector):
        """Says clean to dark images and raindrop to bright ones, and marks the first cell."""

        def forward(self, image: torch.Tensor) -> Detection:
            bright = (image.mean((1, 2, 3)) > 128).float()
            mask = torch.full((len(image), 1, 2), -1.0)
            mask[:, 0, 0] = 1.0
            return Detection(torch.stack([1 - bright, bright, 0 * bright, 0 * bright], 1), mask)

    images = torch.tensor([0, 255, 255, 0], dtype=torch.uint8).view(4, 1, 1).expand(4, 8, 16)
    views = Views(images, torch.tensor([0, 0, 1, -1]),
                  torch.tensor([[[0, 0]], [[1, 0]], [[1, 1]], [[IGNORED, 0]]], dtype=torch.uint8))
    figures = validate(Fixed(), views)
    assert figures == pytest.approx({"accuracy": 2 / 3, "false_alarms": 0.5, "mask_iou": 2 / 4})
