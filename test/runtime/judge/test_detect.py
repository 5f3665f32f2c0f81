from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import tiny_models

from derain_ros.engine import EngineError, load
from derain_ros.frame import Anomaly, Frame
from derain_ros.manifest import Manifest, Model
from derain_ros.runtime.input.encoding import FrameError
from derain_ros.runtime.judge.detect import COVERED, Detect


class Spy:
    """An engine that keeps what it was given and answers as told."""

    device = "none"

    def __init__(self, model: Model, probabilities: list[float]) -> None:
        self.model = model
        self.seen: list[np.ndarray] = []
        self._probabilities = np.array(probabilities, np.float32)

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        self.seen.append(image)
        cells = np.zeros((len(image), 12, 16), np.float32)
        cells[:, 0, :6], cells[:, 0, 6:8], cells[:, 1] = 0.9, COVERED + 0.05, COVERED - 0.05
        return {"probabilities": np.tile(self._probabilities, (len(image), 1)), "mask": cells}


def frame(value: int, encoding: str = "mono8", size: tuple[int, int] = (54, 72)) -> Frame:
    shape = (*size, 3) if encoding in ("rgb8", "bgr8") else size
    return Frame(np.full(shape, value, np.uint16 if encoding == "mono16" else np.uint8), encoding)


def test_both_eyes_of_any_size_and_encoding_are_told_apart(manifest: Manifest) -> None:
    detector = Detect(load(manifest.get("detect")))
    left, right, third = detector.detect([frame(150), frame(50, "bgr8", (200, 300)), frame(150 << 4, "mono16", (3, 2))])
    assert (left.kind, right.kind, third.kind) == ("raindrop", "clean", "raindrop")
    assert left.affected and not right.affected
    assert left.score == pytest.approx(0.95, abs=1e-5) and right.score == pytest.approx(0.05, abs=1e-5)
    assert (left.coverage, right.coverage) == (1.0, 0.0)
    assert left.mask.shape == (12, 16) and left.mask.dtype == np.uint8 and set(left.mask.flat) == {255}
    assert set(right.mask.flat) == {0}
    assert list(left.probabilities) == list(tiny_models.CLASSES)
    assert left.probabilities["raindrop"] == pytest.approx(0.95)


def test_all_frames_go_in_one_batch_by_area_and_unaltered(manifest: Manifest) -> None:
    spy = Spy(manifest.get("detect"), [1, 0, 0, 0, 0])
    whole = np.random.default_rng(3).integers(0, 256, (192, 300), np.uint8)
    before = whole.copy()
    view = whole[:, :256]
    view.flags.writeable = False
    Detect(spy).detect([Frame(view), Frame(view)])
    assert len(spy.seen) == 1 and spy.seen[0].shape == (2, 96, 128, 1)
    mean = before[:, :256].reshape(96, 2, 128, 2).mean((1, 3))
    for seen in spy.seen[0]:
        assert np.abs(seen[..., 0] - mean).max() <= 0.5
    assert np.array_equal(whole, before)


def test_what_is_lost_is_taken_from_the_network_where_it_tells(manifest: Manifest) -> None:
    class Telling(Spy):
        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            return {**super().run(image=image), "severity": np.linspace(0.1, 0.2, len(image), dtype=np.float32)}

    left, right = Detect(Telling(manifest.get("detect"), [0.5, 0.5, 0, 0, 0])).detect([frame(1), frame(1)], 0.5)
    assert (left.lost, right.lost) == (pytest.approx(0.1), pytest.approx(0.2))
    assert (left.severity, right.severity) == (pytest.approx(0.25), pytest.approx(0.5))
    assert np.isnan(Detect(Spy(manifest.get("detect"), [0.5, 0.5, 0, 0, 0])).detect([frame(1)])[0].lost)


def test_colour_is_seen_as_grey(manifest: Manifest) -> None:
    spy = Spy(manifest.get("detect"), [1, 0, 0, 0, 0])
    colour = np.random.default_rng(3).integers(0, 256, (96, 128, 3), np.uint8)
    Detect(spy).detect([Frame(colour, "rgb8")])
    assert np.array_equal(spy.seen[0][0, ..., 0], cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY))


@pytest.mark.parametrize(
    ("probabilities", "on_score", "kind"),
    [
        ([0.45, 0.2, 0.35, 0.0, 0.0], 0.5, "dirt"),
        ([0.45, 0.2, 0.35, 0.0, 0.0], 0.6, "clean"),
        ([0.3, 0.1, 0.1, 0.2, 0.3], 0.69, "night_rain"),
    ],
)
def test_the_score_decides_and_the_most_probable_names(
    manifest: Manifest, probabilities: list[float], on_score: float, kind: str
) -> None:
    anomaly = Detect(Spy(manifest.get("detect"), probabilities)).detect([frame(1)], on_score)[0]
    assert anomaly.kind == kind
    assert anomaly.score == pytest.approx(1 - probabilities[0])
    assert anomaly.coverage == pytest.approx(8 / (12 * 16))
    assert anomaly.mask[0].tolist() == [255] * 8 + [0] * 8


def test_kinds_at_work_together_are_each_told(manifest: Manifest) -> None:
    model = dataclasses.replace(manifest.get("detect"), multi_label=True)
    anomaly = Detect(Spy(model, [0.0, 0.7, 0.1, 0.9, 0.2])).detect([frame(1)])[0]
    assert (anomaly.kind, anomaly.score) == ("streak", pytest.approx(0.9))
    assert anomaly.probabilities["raindrop"] == pytest.approx(0.7)
    clean = Detect(Spy(model, [0.1, 0.2, 0.1, 0.3, 0.2])).detect([frame(1)])[0]
    assert (clean.kind, clean.score) == ("clean", pytest.approx(0.3))


def test_severity_is_the_score_times_what_is_covered_as_far_as_a_fifth() -> None:
    mask = np.zeros((2, 2), np.uint8)
    assert [Anomaly("dirt", 0.8, coverage, mask).severity for coverage in (0.0, 0.1, 0.2, 0.9)] == pytest.approx(
        [0.0, 0.4, 0.8, 0.8]
    )
    assert Anomaly("clean", 0.5, 0.9, mask).severity == 0.0


def test_severity_is_of_what_is_lost_where_the_detector_tells() -> None:
    mask = np.zeros((2, 2), np.uint8)
    assert [Anomaly("dirt", 0.8, 0.9, mask, lost=lost).severity for lost in (0.0, 0.1, 0.2, 0.9)] == pytest.approx(
        [0.0, 0.4, 0.8, 0.8]
    )
    assert Anomaly("clean", 0.5, 0.9, mask, lost=0.9).severity == 0.0


def test_a_network_gone_wild_is_an_error(manifest: Manifest) -> None:
    with pytest.raises(EngineError, match="detect: gave"):
        Detect(Spy(manifest.get("detect"), [float("nan"), 0, 0, 0, 0])).detect([frame(1)])
    with pytest.raises(EngineError, match="detect: gave"):
        Detect(Spy(manifest.get("detect"), [0.5, 0.5])).detect([frame(1)])


def test_a_malformed_frame_is_refused(manifest: Manifest) -> None:
    with pytest.raises(FrameError, match="mono16"):
        Detect(Spy(manifest.get("detect"), [1, 0, 0, 0, 0])).detect([Frame(np.zeros((8, 8), np.uint8), "mono16")])


def test_only_a_detector_detects(manifest: Manifest) -> None:
    with pytest.raises(EngineError, match="restore_mono: a restore model cannot detect"):
        Detect(load(manifest.get("restore_mono")))


def test_warming_up_runs_the_batch_to_come(manifest: Manifest) -> None:
    spy = Spy(manifest.get("detect"), [1, 0, 0, 0, 0])
    Detect(spy).warm_up(2)
    assert [seen.shape for seen in spy.seen] == [(2, 96, 128, 1)]
