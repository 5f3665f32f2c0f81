"""The images held out: which there are, the same each time, and never one that training reads."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros import Config, Frame, FrameSet, Pipeline  # noqa: E402
from derain_ros.data.layouts import TrainingFolders  # noqa: E402
from derain_ros.data.samples import DataError, read_rgb  # noqa: E402
from derain_ros.engine import load  # noqa: E402
from derain_ros.evaluate.held_out import held_out  # noqa: E402
from derain_ros.evaluate.restoration import evaluate, luminance, similarity, summary  # noqa: E402
from derain_ros.manifest import Manifest  # noqa: E402
from derain_ros.runtime.judge.detect import Detect  # noqa: E402
from derain_ros.runtime.stages.restore import restore_image  # noqa: E402

DATA = Path(os.environ.get("DERAIN_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not (DATA / "roadscene_rain").is_dir(), reason=f"no data at {DATA}; set DERAIN_DATA to the data folder"
)


def test_sets_of_colour_and_grey(data_folder: Path) -> None:
    colour, grey = held_out(data_folder, 3, count=4), held_out(data_folder, 1, count=4)
    assert list(grey) == ["real", "synthetic", "focused", "pane", "clean"]
    assert list(colour) == [*grey, *(f"{kind}_grey" for kind in grey)]
    assert [len(grey[kind]) for kind in grey] == [2, 4, 4, 4, 4]
    for kind, pairs in grey.items():
        for ours, theirs in zip(pairs, colour[kind], strict=True):
            assert np.array_equal(ours.wet, luminance(theirs.wet)) and ours.clean.ndim == 2
            assert ours.mask is theirs.mask or np.array_equal(ours.mask, theirs.mask), "the same glass each time"
    assert all(np.array_equal(p.wet, p.clean) and p.mask is None for p in colour["clean"])
    for kind in ("real", "synthetic", "focused", "pane"):
        for pair in colour[kind]:
            assert pair.mask is not None and 0 < np.mean(pair.mask > 0) < 1
            changed = np.abs(pair.wet.astype(int) - pair.clean).max(axis=2)
            assert changed[pair.mask > 0].mean() > 2 * changed[pair.mask == 0].mean()


def test_sets_of_rain(data_folder: Path) -> None:
    colour, grey = (held_out(data_folder, channels, count=4, anomaly="rain") for channels in (3, 1))
    assert list(grey) == ["real_rain", "streak", "night_rain", "by_night", "clean"]
    assert list(colour) == [*grey, *(f"{kind}_grey" for kind in grey)]
    for kind, pairs in grey.items():
        for ours, theirs in zip(pairs, colour[kind], strict=True):
            assert np.array_equal(ours.wet, luminance(theirs.wet)), "the same rain each time"
    for by_day, by_night, photograph in zip(colour["streak"], colour["night_rain"], colour["clean"], strict=True):
        assert np.array_equal(by_day.clean, photograph.clean) and by_night.clean.mean() < photograph.clean.mean()
    for kind in ("real_rain", "streak", "night_rain", "by_night"):
        for pair in colour[kind]:
            assert pair.mask is not None
            changed = np.abs(pair.wet.astype(int) - pair.clean).max(axis=2)
            assert changed[pair.mask > 0].mean() > 2 * changed[pair.mask == 0].mean()


@pytest.mark.parametrize(("anomaly", "kind"), [("drops", "real"), ("rain", "real_rain")])
def test_nothing_of_it_is_trained_on(anomaly: str, kind: str, data_folder: Path) -> None:
    trained = TrainingFolders.find([data_folder], anomaly)
    images = {path.read().clean.tobytes() for path in trained.train}
    images |= {read_rgb(path).tobytes() for path in trained.photographs}
    assert not any(pair.clean.tobytes() in images for pair in held_out(data_folder, 3, anomaly=anomaly)[kind])
    assert not any("val" in path.parts for path in trained.photographs)


def test_published_layouts_and_empty_folders(tmp_path: Path, data_folder: Path) -> None:
    for side in ("data", "gt"):
        (tmp_path / "test" / side).mkdir(parents=True)
        picture = data_folder / "bsds500/val/0.png"
        (tmp_path / "test" / side / "a.png").write_bytes(picture.read_bytes())
    assert {kind: len(pairs) for kind, pairs in held_out(tmp_path, 3).items()} == {"real": 1, "real_grey": 1}
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        held_out(tmp_path / "empty", 3)


@needs_data
@pytest.mark.parametrize(
    ("name", "special"),
    [("restore_mono_int8", False), ("restore_mono_rain_int8", True), ("restore_rgb_rain_int8", True)],
)
def test_the_shipped_restorers_of_rain(name: str, special: bool) -> None:
    manifest = Manifest.load()
    model = manifest.get(name)
    figures = summary(evaluate(load(model), held_out(DATA, model.channels, count=2, anomaly="rain")["real_rain"]))
    assert figures["images"] == 21
    if special:
        assert {"streak", "night_rain"} == set(model.serves) and figures["psnr_gain_low"] > 3.0
        assert figures["psnr_gain"] == pytest.approx(manifest.figures(model)["real_rain_psnr_gain"], abs=0.2)
    else:
        assert figures["psnr_gain"] < 1.0, "drops are not rain"


@needs_data
def test_rain_is_restored_by_its_own_restorer_in_the_pipeline() -> None:
    pipeline = Pipeline(Config(cameras=["left"], engine="onnxruntime", threads=1))
    pipeline.load()
    by_day, *_, by_night, _ = held_out(DATA, 1, count=2, anomaly="rain")["real_rain"]
    for pair in (by_day, by_night):
        result = pipeline.process(FrameSet({"left": Frame(pair.wet, "mono8")}))
        assert result.models.startswith("restore_mono_rain") and result.plan == "rain"
        restored = result.cameras["left"].frame.image
        assert similarity(restored, pair.clean)[0] > similarity(pair.wet, pair.clean)[0] + 3.0


@needs_data
def test_the_detectors_coverage_is_that_of_the_restorers_mask() -> None:
    """`coverage` is the detector's where nothing is restored, and the mask's where something is."""
    manifest = Manifest.load()
    detector, restorer = Detect(load(manifest.get("detect"))), load(manifest.get("restore_mono_light_int8"))
    means = []
    for kind in ("real", "synthetic", "focused", "pane"):
        wet = [pair.wet for pair in held_out(DATA, 1, count=16)[kind][:16]]
        found = [detector.detect([Frame(image, "mono8")])[0].coverage for image in wet]
        masked = [float(np.mean(restore_image(restorer, image)[1] > 0)) for image in wet]
        means.append((np.mean(found), np.mean(masked)))
    found, masked = np.array(means).T
    assert np.abs(found - masked).max() < 0.15 and np.abs(found - masked).mean() < 0.1
    assert np.corrcoef(found, masked)[0, 1] > 0.95
