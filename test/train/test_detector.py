"""Training of the detector on a tiny data folder drawn in the test."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_pictures import write_own_pictures, write_pictures

torch = pytest.importorskip("torch")
pytest.importorskip("rich")

from derain_ros.data.pictures import find_pictures  # noqa: E402
from derain_ros.data.samples import DataError  # noqa: E402
from derain_ros.data.views import IGNORED, UNKNOWN, WHOLE, draw_view  # noqa: E402
from derain_ros.nets.detector import CELLS, CLASSES, Detection, Detector  # noqa: E402
from derain_ros.resources import model_dir  # noqa: E402
from derain_ros.train import detector, exported, loop  # noqa: E402
from derain_ros.train import views as rendering  # noqa: E402
from derain_ros.train.detector import DetectRecipe, detection_loss, train, validate  # noqa: E402
from derain_ros.train.loop import Machine  # noqa: E402
from derain_ros.train.views import Views, empty_views, render_views  # noqa: E402

TINY = DetectRecipe(views=24, renewed=4, calibration_views=12, steps=6, warm_up=0, validate_every=3, batch=8)
# Mixed precision, the default, takes four times as long where the processor has no bfloat16.
CPU = Machine("cpu", precision="32-true")
K = len(CLASSES)


@pytest.fixture(scope="module")
def pictures_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data"))


def test_trains_and_writes_checkpoint_and_journal(pictures_folder: Path, tmp_path: Path) -> None:
    checkpoint = train(pictures_folder, tmp_path / "new" / "output", TINY, CPU)
    state = torch.load(checkpoint, weights_only=True)
    assert state["recipe"]["views"] == 24
    trained, fresh = Detector(), Detector()
    trained.load_state_dict(state["net"])
    assert not torch.equal(trained.mask.weight, fresh.mask.weight)
    assert len(state["calibration"]["scale"]) == len(state["calibration"]["shift"]) == K
    lines = [json.loads(line) for line in (tmp_path / "new/output/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert all(0 <= line[key] <= 1 for line in lines for key in ("accuracy", "false_alarms", "recall", "mask_iou"))


def test_a_training_cut_within_a_pass_is_taken_up_to_the_same_weights(
    pictures_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    through = torch.load(train(pictures_folder, tmp_path / "through", TINY, CPU), weights_only=True)
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    real, steps = detector.detection_loss, []

    def cut(*given: object) -> torch.Tensor:
        steps.append(given)
        if len(steps) == 5:
            raise ConnectionResetError("no power")
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(detector, "detection_loss", cut)
    with pytest.raises(ConnectionResetError):
        train(pictures_folder, tmp_path / "cut", TINY, CPU)
    resumed = torch.load(train(pictures_folder, tmp_path / "cut", TINY, CPU), weights_only=True)
    assert len(steps) == 7 and resumed["step"] == 6
    assert all(torch.equal(resumed["net"][name], weights) for name, weights in through["net"].items())
    assert resumed["calibration"] == through["calibration"]


def test_checkpoints_that_cannot_be_taken_up_are_told(pictures_folder: Path, tmp_path: Path) -> None:
    torch.save({"net": Detector().state_dict(), "recipe": {}}, tmp_path / "last.pt")
    with pytest.raises(DataError, match="start_from"):
        train(pictures_folder, tmp_path, TINY, CPU)
    with pytest.raises(DataError, match="there is no such checkpoint"):
        train(pictures_folder, tmp_path / "new", replace(TINY, start_from="nowhere.pt"), CPU)


def test_the_shipped_detector_is_trained_on_with_pictures_of_ones_own(tmp_path: Path) -> None:
    data = write_own_pictures(tmp_path / "mine")
    before, after = Detector(), Detector()
    state = torch.load(
        train(data, tmp_path / "run", replace(TINY, start_from="detect_float", learning_rate=0.0), CPU),
        weights_only=True,
    )
    after.load_state_dict(state["net"])
    views = render_views(find_pictures(data, "evaluation"), range(24), 3).images[:, None].float()
    exported.begin_detector(before, model_dir() / "detect_float.onnx", views)
    ours, theirs = (detector.predict(net, views[:, 0].byte()).classes for net in (before, after))
    # Only what the batches came to has moved.
    assert torch.equal(before.mask.weight, after.mask.weight)
    assert np.corrcoef(ours.flatten(), theirs.flatten())[0, 1] > 0.95
    with pytest.raises(DataError, match="eight bits; take the model in floating point"):
        train(data, tmp_path / "other", replace(TINY, start_from="detect"), CPU)


def test_missing_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="raindrop_real"):
        train(tmp_path, tmp_path / "output", TINY, CPU)


def test_number_and_seed_decide_each_view(pictures_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "CHUNK", 4)
    pictures = find_pictures(pictures_folder, "train")
    views = render_views(pictures, range(6), seed=5, workers=2)
    for number in (0, 5):  # of the first chunk and of the last
        expected = draw_view(pictures, np.random.default_rng((5, number)))
        assert np.array_equal(views.images[number].numpy(), expected.image)
        assert np.array_equal(views.cells[number].numpy(), expected.cells)
        assert np.array_equal(views.labels[number].numpy(), expected.labels)
        assert views.severity[number] == expected.severity and views.coverage[number] == expected.coverage


def test_the_oldest_views_are_renewed(pictures_folder: Path) -> None:
    pictures = find_pictures(pictures_folder, "train")
    views = empty_views(6)
    views.images.zero_()
    render_views(pictures, range(8, 10), 5, into=views)
    assert (views.images.flatten(1).amax(1) > 0).tolist() == [False, False, True, True, False, False]
    assert np.array_equal(views.images[3].numpy(), draw_view(pictures, np.random.default_rng((5, 9))).image)


def test_loss_ignores_what_is_not_known() -> None:
    labels = torch.tensor([[0, 1, 0, 0, 0], [UNKNOWN, UNKNOWN, 0, 0, 0]], dtype=torch.int8)
    cells = torch.tensor([[[0, WHOLE]], [[IGNORED, WHOLE]]], dtype=torch.uint8)
    severity = torch.tensor([WHOLE, IGNORED], dtype=torch.uint8)

    def loss(**changes: tuple[tuple[int, ...], float]) -> torch.Tensor:
        out = Detection(torch.zeros(2, K), torch.zeros(2, 1, 2), torch.zeros(2))
        for name, (place, value) in changes.items():
            getattr(out, name)[place] = value
        return detection_loss(out, labels, cells, severity, TINY)

    before = loss()
    assert loss(classes=((1, 1), 9.0)) == loss(mask=((1, 0, 0), 9.0)) == loss(severity=((1,), 9.0)) == before
    assert loss(classes=((0, 1), 2.0)) < before < loss(classes=((0, 0), 2.0))
    assert loss(mask=((0, 0, 1), 2.0)) < before < loss(mask=((0, 0, 0), 2.0))
    assert loss(severity=((0,), 2.0)) < before < loss(severity=((0,), -2.0))


def test_validation_counts() -> None:
    labels = torch.tensor(
        [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 1, 0, 0, 0], [UNKNOWN, UNKNOWN, 0, 0, 0]], dtype=torch.int8
    )
    cells = torch.zeros((4, *CELLS), dtype=torch.uint8)
    cells[1, 0, :2], cells[2, 0, 0], cells[3] = WHOLE, 100, IGNORED
    views = Views(torch.zeros(0), labels, cells, torch.zeros(4, dtype=torch.uint8), torch.zeros(4))
    classes = torch.full((4, K), -1.0)
    classes[:, 0] = torch.tensor([2.0, -1.0, 3.0, -1.0])  # the second wet one is taken for clean
    classes[1, 1] = 1.0
    mask = torch.full((4, *CELLS), -1.0)
    mask[:, 0, 0] = 1.0
    figures = validate(Detection(classes, mask, torch.zeros(4)), views)
    # Of the 5 + 5 + 5 + 3 labels known, those of the third view's clean and raindrop are wrong.
    assert figures == pytest.approx(
        {"accuracy": 16 / 18, "auroc": 0.5, "recall": 0.5, "false_alarms": 0.0, "mask_iou": 1 / 4}
    )
