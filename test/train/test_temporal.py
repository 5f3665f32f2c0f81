"""Training of the temporal filter on a tiny data folder, its export and its eight-bit model."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import tiny_models

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

import onnxruntime  # noqa: E402

from derain_ros.data import sequences  # noqa: E402
from derain_ros.data.samples import DataError  # noqa: E402
from derain_ros.data.sequences import SequenceSample, draw_sequence  # noqa: E402
from derain_ros.engine import load  # noqa: E402
from derain_ros.manifest import Manifest  # noqa: E402
from derain_ros.nets.temporal import TemporalNet  # noqa: E402
from derain_ros.publish import temporal as publishing  # noqa: E402
from derain_ros.publish.export import ExportError, task_of  # noqa: E402
from derain_ros.publish.export_temporal import export_temporal, load_temporal  # noqa: E402
from derain_ros.publish.quantize import publish_quantized  # noqa: E402
from derain_ros.publish.temporal import publish_temporal  # noqa: E402
from derain_ros.runtime.stages.temporal import TemporalFilter  # noqa: E402
from derain_ros.tasks import TEMPORAL_PLANES  # noqa: E402
from derain_ros.train.temporal import TemporalRecipe, train  # noqa: E402
from derain_ros.train.temporal_run import run, sequence_losses, validate  # noqa: E402

TINY = TemporalRecipe(width=8, length=3, size=64, batch=2, kept=3, steps=4, warm_up=1, validate_every=2, validation=2)


@pytest.fixture(autouse=True)
def no_drives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Laying out a world takes longer than all else here."""
    monkeypatch.setattr(sequences, "DRIVES", 0.0)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny models, with a restorer of the name that filters are measured behind."""
    directory = tiny_models.write_models(tmp_path_factory.mktemp("models"))
    entry = tiny_models.write_model(
        directory,
        tiny_models.restorer(1),
        name="restore_mono_int8",
        task="restore",
        channels=1,
        stride=tiny_models.STRIDE,
    )
    tiny_models.write_manifest(directory, [entry])
    return directory


@pytest.fixture
def sample(data_folder: Path) -> SequenceSample:
    files = sorted((data_folder / "bsds500/train").glob("*.png"))
    return draw_sequence(files, 3, 64, lambda wet: (wet, np.zeros_like(wet)), np.random.default_rng(5))


@pytest.mark.usefixtures("quick_exports")
def test_trains_writes_resumes_and_is_published(
    data_folder: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restorers = [Manifest.load(models).get("restore_mono_int8")]
    whole = train([data_folder], tmp_path / "whole", TINY, restorers)
    train([data_folder], tmp_path / "cut", replace(TINY, steps=2, warm_up=1), restorers)
    lines = [json.loads(line) for line in (tmp_path / "whole/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4] and all(line["error"] > 0 for line in lines)
    assert {"psnr", "free_psnr", "flicker", "mask_iou"} <= lines[0].keys()
    state = torch.load(whole, weights_only=True)
    assert state["step"] == 4 and task_of(whole) == "temporal"
    fresh = TemporalNet(8)
    assert not torch.equal(state["net"]["first.weight"], fresh.state_dict()["first.weight"])

    monkeypatch.setattr(publishing, "FRAMES", 2)
    monkeypatch.setattr(publishing, "CALIBRATION", 2)
    monkeypatch.setattr(publishing, "KINDS", ("few",))
    figures = publish_temporal(whole, "temporal", models, data_folder)
    manifest = Manifest.load(models)
    entry = manifest.get("temporal")
    manifest.verify(entry)
    assert entry.task == "temporal" and set(manifest.figures(entry)) == set(figures) >= {"flicker", "mask_iou"}
    card = (models / entry.card).read_text()
    assert "derain train temporal" in card and "| drive | few |" in card and "GMAC" in card
    assert publish_quantized("temporal", models, data_folder).keys() == figures.keys()
    eight = Manifest.load(models).get("temporal_int8")
    assert (eight.precision, eight.channels, eight.card) == ("int8", TEMPORAL_PLANES, entry.card)
    planes = np.random.default_rng(0).integers(0, 256, (1, 32, 32, TEMPORAL_PLANES), np.uint8)
    theirs, ours = (load(model).run(image=planes)["weights"].astype(int) for model in (entry, eight))
    assert np.abs(theirs - ours).mean() < 8


def test_a_cut_training_goes_on_to_the_same_weights(
    data_folder: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from derain_ros.train import loop, temporal

    restorers = [Manifest.load(models).get("restore_mono_int8")]
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    whole = torch.load(train([data_folder], tmp_path / "whole", TINY, restorers), weights_only=True)

    class Cut(Exception):
        pass

    real = temporal.sequence_losses
    calls = []

    def cut(*args: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise Cut
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(temporal, "sequence_losses", cut)
    with pytest.raises(Cut):
        train([data_folder], tmp_path / "cut", TINY, restorers)
    again = torch.load(train([data_folder], tmp_path / "cut", TINY, restorers), weights_only=True)
    assert len(calls) == 5  # two steps, the cut, and the two that lacked
    assert all(torch.equal(whole["net"][name], again["net"][name]) for name in whole["net"])


def test_a_filter_is_trained_on_from_where_it_was(data_folder: Path, models: Path, tmp_path: Path) -> None:
    restorers = [Manifest.load(models).get("restore_mono_int8")]
    first = train([data_folder], tmp_path / "first", TINY, restorers)
    theirs, _ = load_temporal(first)
    export_temporal(theirs, tmp_path / "mine.onnx")
    still = replace(TINY, steps=1, learning_rate=1e-9, seed=9)
    for begin, origin in ((first, "an earlier training"), (tmp_path / "mine.onnx", "mine (sha256 ")):
        output = tmp_path / begin.stem
        ours = torch.load(
            train([data_folder], output, replace(still, start_from=str(begin)), restorers), weights_only=True
        )
        assert ours["origin"].startswith(origin)
        assert all(torch.allclose(ours["net"][name], value, atol=1e-5) for name, value in theirs.state_dict().items())
        # Taken up again it still says so.
        train([data_folder], output, replace(still, start_from=str(begin), steps=2), restorers)
        assert torch.load(output / "last.pt", weights_only=True)["origin"] == ours["origin"]
    with pytest.raises(DataError, match="not a temporal filter of these sizes"):
        train([data_folder], tmp_path / "other", replace(still, width=16, start_from="temporal"), restorers)
    with pytest.raises(DataError, match="nor a shipped temporal filter"):
        train([data_folder], tmp_path / "none", replace(still, start_from="restore_rgb"), restorers)


def test_ctrl_c_loses_nothing(data_folder: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from derain_ros.train import temporal

    restorers, real = [Manifest.load(models).get("restore_mono_int8")], temporal.sequence_losses

    def press_ctrl_c(*args: object) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(temporal, "sequence_losses", press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        train([data_folder], tmp_path, TINY, restorers)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 1


def test_losses_are_those_of_what_comes_out(sample: SequenceSample) -> None:
    net = TemporalNet(8)
    with torch.no_grad():
        torch.nn.init.constant_(net.last.bias[:4], 30.0)  # keeps the frame
        kept = sequence_losses(net, [sample], TINY)
        wrong = sample.wet.astype(np.float32) - sample.clean
        assert kept["error"] == pytest.approx(np.abs(wrong).mean() / 255, rel=1e-3)
        dry = sequence_losses(net, [replace(sample, wet=sample.clean)], TINY)
        assert dry["error"] < 1e-6 and dry["change"] < 1e-6
        free = sequence_losses(net, [replace(sample, covered=np.zeros_like(sample.covered))], TINY)
        assert free["error"] == pytest.approx(TINY.free_weight * float(kept["error"]), rel=1e-3)
        noise = np.random.default_rng(0).integers(0, 90, sample.wet.shape, np.uint8)
        noisy = replace(sample, wet=cv2.add(sample.clean, noise))
        assert sequence_losses(net, [noisy], TINY)["change"] > 0.02
        # One half changes more than it should, the other not at all: the whole does not.
        noise = np.random.default_rng(1).integers(0, 60, sample.wet.shape, np.uint8)
        clean = cv2.add(sample.clean, noise)
        half = cv2.add(clean, np.random.default_rng(2).integers(0, 30, clean.shape, np.uint8))
        assert sequence_losses(net, [replace(sample, clean=clean, wet=half)], TINY)["change"] > 0.01
        half[:, :, :32] = 128
        assert sequence_losses(net, [replace(sample, clean=clean, wet=half)], TINY)["change"] == 0
        # The same picture again and again does not change, right or wrong.
        still = replace(sample, wet=np.repeat(sample.wet[:1], len(sample.wet), 0), steps=np.zeros_like(sample.steps))
        assert sequence_losses(net, [still], TINY)["change"] < 1e-6
        covered = replace(sample, covered=np.full_like(sample.covered, 255))
        assert sequence_losses(net, [covered], TINY)["mask"] > 1.5 * kept["mask"]


def test_the_first_output_is_of_the_frame_and_its_restoration_alone(sample: SequenceSample) -> None:
    net = TemporalNet(8)
    with torch.no_grad():
        torch.nn.init.constant_(net.last.bias[:4], -30.0)
        torch.nn.init.constant_(net.last.bias[8:12], -30.0)
        torch.nn.init.constant_(net.last.bias[4:8], 30.0)  # recalls the last output, which there is none of
        outputs = run(net, [sample])
    assert torch.allclose(outputs[0].image[0, 0] * 255, torch.from_numpy(sample.restored[0]).float(), atol=0.6)
    assert outputs[0].seen.max() < 1e-6 and (outputs[-1].image - outputs[0].image).abs().max() > 0.01


def test_what_is_trained_smooths_as_the_robot_does(sample: SequenceSample) -> None:
    net = TemporalNet(8)
    with torch.no_grad():
        for part, bias in enumerate((-30.0, -30.0, 30.0)):
            torch.nn.init.constant_(net.last.bias[4 * part : 4 * part + 4], bias)
        trained = run(net, [sample])[0].image[0, 0].numpy() * 255

    def smooth(image: np.ndarray) -> dict[str, np.ndarray]:
        weights = np.zeros((*image.shape[:3], 3), np.uint8)
        weights[..., 2] = 255
        return {"weights": weights, "mask": image[..., 3], "memory": image[..., 5:]}

    frame, restored, mask = (images[:1] for images in (sample.wet, sample.restored, sample.mask))
    on_robot, _ = TemporalFilter().apply(
        SimpleNamespace(run=smooth),
        ["left"],
        [0],
        frame[..., None],  # type: ignore[arg-type]
        restored[..., None],
        mask,
    )[0]
    assert np.abs(trained - on_robot[..., 0]).max() < 2
    assert np.abs(trained - sample.restored[0]).max() > 10


def test_figures_of_a_filter_that_keeps_everything(sample: SequenceSample) -> None:
    net = TemporalNet(8)
    torch.nn.init.constant_(net.last.bias[:4], 30.0)  # type: ignore[index]
    figures = validate(net, [replace(sample, restored=sample.wet)])
    assert figures["flicker"] == pytest.approx(figures["restored_flicker"], rel=0.05)
    assert figures["psnr"] == pytest.approx(figures["restored_psnr"], abs=0.1)
    assert validate(net, [replace(sample, wet=sample.clean, restored=sample.clean)])["free_psnr"] > 50


def test_what_does_not_fit_is_told(models: Path, tmp_path: Path) -> None:
    for values, message in (
        ({"size": 100}, "size: 100"),
        ({"length": 1}, "length: 1"),
        ({"steps": -3}, "steps: -3"),
        ({"batch": 0}, "batch: 0"),
        ({"free_weight": -1.0}, "free_weight: -1.0 is below 0"),
        ({"validation": 0}, "validation: 0"),
    ):
        with pytest.raises(DataError, match=message):
            TemporalRecipe(**values)
    with pytest.raises(DataError):
        train([tmp_path], tmp_path / "out", TINY, [Manifest.load(models).get("restore_mono_int8")])
    (tmp_path / "broken.pt").write_bytes(b"nothing")
    with pytest.raises(ExportError, match="not a checkpoint of `derain train temporal`"):
        load_temporal(tmp_path / "broken.pt")
    (tmp_path / "text.pt").write_text("root:x:0:0:root:/root:/bin/bash\n")
    with pytest.raises(ExportError, match=r"text\.pt: not a checkpoint of `derain train`"):
        task_of(tmp_path / "text.pt")


def test_the_exported_filter_does_what_the_network_does_at_any_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = TemporalNet(8).eval()
    torch.nn.init.normal_(net.last.weight, std=0.3)
    export_temporal(net, tmp_path / "t.onnx")
    planes = np.random.default_rng(1).integers(0, 256, (1, 34, 50, TEMPORAL_PLANES), np.uint8)
    weights, mask, memory = onnxruntime.InferenceSession(tmp_path / "t.onnx").run(None, {"image": planes})
    with torch.no_grad():
        out = net(torch.from_numpy(planes).permute(0, 3, 1, 2).float() / 255)
    assert np.abs(weights[..., 0] - out.keep[:, 0].numpy() * 255).max() <= 1
    assert np.abs(memory - out.memory.permute(0, 2, 3, 1).numpy() * 255).max() <= 1
    assert set(np.unique(mask)) <= {0, 255} and mask.shape == (1, 34, 50)
