"""The segmenter on wet, restored and dry images of a bag: figures that can be told beforehand, and what bags lack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags")

from tiny_models import BRIGHTER_BY, SEGMENTS, write_models  # noqa: E402

from derain_ros.config import Config  # noqa: E402
from derain_ros.data.labelled import VOID  # noqa: E402
from derain_ros.data.rain_sequence import CLASSES, DRY, EPOCH_NS, LABELS, MASK, WET, Rainy, write_bag  # noqa: E402
from derain_ros.engine import load  # noqa: E402
from derain_ros.evaluate.restoration import EvaluationError  # noqa: E402
from derain_ros.evaluate.segmentation_bag import Report, evaluate, markdown, notes, rows, won_back  # noqa: E402
from derain_ros.evaluate.sheet import segmentations  # noqa: E402
from derain_ros.manifest import Manifest  # noqa: E402
from derain_ros.replay.bag import BagReader, BagWriter  # noqa: E402
from derain_ros.runtime.pipeline import Pipeline  # noqa: E402

Run = Callable[..., Report]
DARK, BRIGHT = (10, 70, 80, 130), (66, 130, 195, 230)
"""Grey values of four columns each: the tiny detector takes the second scene for wet, the first for clean."""
RAIN = np.array([4, 4, 0, 0])
"""What rain takes of each column: the first two come into the class below, and the tiny restorer brings them back."""
DRY_FRAMES, WET_FRAMES = 4, 8


def columns(values: Sequence[int]) -> np.ndarray:
    """An image (24, 32, 3) of four columns of 8 pixels."""
    return np.repeat(np.repeat(np.array(values, np.uint8), 8)[None, :, None], 24, axis=0).repeat(3, axis=2)


def frames(with_labels: bool = True) -> Iterator[Rainy]:
    """Dry frames, then wet ones; labels are void in the upper third."""
    for number in range(DRY_FRAMES + WET_FRAMES):
        clean = columns(DARK if number < DRY_FRAMES else BRIGHT)
        wet = clean if number < DRY_FRAMES else columns(np.array(BRIGHT) - RAIN)
        label = clean[..., 0] // 64
        label[:8] = VOID
        yield Rainy(wet, clean, (wet != clean).any(-1) * np.uint8(255), label if with_labels else None)


def bag_of(path: Path, rainy: Iterator[Rainy], classes: Sequence[str] = ()) -> Path:
    write_bag(rainy, DRY_FRAMES + WET_FRAMES, path, 10.0, lambda done, total: None, classes)
    return path


def without(source: Path, path: Path, *left_out: str, stamps: Sequence[int] = ()) -> Path:
    """A copy of a bag without these topics, or without their messages at these stamps."""
    with BagReader(source) as reader, BagWriter(path) as writer:
        for topic in reader.topics.values():
            if topic.name not in left_out or stamps:
                writer.add(topic)
        for message in reader.messages():
            if message.topic not in left_out or stamps and message.stamp_ns not in stamps:
                writer.write(message)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Evaluate a bag by the tiny models, with settings of the pipeline."""
    manifest = Manifest.load(write_models(tmp_path / "models", with_segmenter=True))

    def run(bag: Path, **settings: object) -> Report:
        given = {"cameras": ["left"], "engine": "onnxruntime", "on_hold_s": 0.0, "off_hold_s": 0.0, **settings}
        pipeline = Pipeline(Config.from_mapping(given), manifest)
        pipeline.load()
        return evaluate(bag, load(manifest.get("segment")), pipeline)

    return run


def test_labels_of_the_bag_are_the_reference(run: Run, tmp_path: Path) -> None:
    report = run(bag_of(tmp_path / "bag", frames(), SEGMENTS))
    assert report.reference == f"labels of the bag, {LABELS}" and (report.frames, report.left_out) == (12, 0)
    assert report.restored == WET_FRAMES and "balanced" in report.plans
    dry, wet, restored = (report.views[view] for view in ("dry", "wet", "restored"))
    assert dry.miou == dry.accuracy == 100 and dry.classes == dict.fromkeys(SEGMENTS, 100.0)
    # In columns of 16 rows: dark ones are road, building, building, tree; bright ones building, tree, sky, sky, which
    # rain makes road, building.
    assert wet.classes == pytest.approx(
        {"road": 100 * 4 / 12, "building": 100 * 8 / 24, "tree": 100 * 4 / 12, "sky": 100}
    )
    assert wet.miou == pytest.approx(50) and wet.low <= 50 <= wet.high and wet.low < wet.high
    assert wet.accuracy == pytest.approx(100 * (48 - 16) / 48)
    assert restored.miou == 100
    assert report.won_back == (100, 100, 100)
    # The tiny restorer masks what is brighter than 200: the last column, which is right everywhere.
    assert report.masked == dict.fromkeys(("wet", "restored", "dry"), 100.0)
    assert "Of the mIoU lost to rain, 100 % (100 to 100) was recovered." in notes(report)
    assert f"8 of 12 frames restored (67 %), by {report.plans}." in notes(report)
    header, table = rows(report)
    assert header == ["", "wet", "restored", "dry"] and [row[0] for row in table][3:] == list(SEGMENTS)
    assert "| road | 33.3 | 100.0 | 100.0 |" in markdown(report)


def test_labels_under_the_mask_are_counted_by_themselves(run: Run, tmp_path: Path) -> None:
    """Two of the four columns are bright enough to be masked; one of them is another class than it looks."""
    labels = columns((1, 2, 3, 3))[..., 0]
    labels[:, 24:28], labels[:, 28:] = 0, VOID
    image = columns((66, 130, 230, 230))
    rainy = (Rainy(image, image, image[..., 0] * 0, labels) for _ in range(DRY_FRAMES + WET_FRAMES))
    report = run(bag_of(tmp_path / "bag", rainy, SEGMENTS))
    assert report.masked == pytest.approx(dict.fromkeys(("wet", "restored", "dry"), 100 * 8 / 12))
    assert rows(report)[1][2] == ["correct under the mask, %", "66.7", "66.7", "66.7"]


def test_nothing_is_restored_where_it_is_switched_off(run: Run, tmp_path: Path) -> None:
    report = run(bag_of(tmp_path / "bag", frames(), SEGMENTS), enabled=False)
    assert report.views["restored"] == report.views["wet"] and report.won_back == (0, 0, 0)
    assert report.masked["restored"] == report.masked["wet"], "of the detector's masks"
    nowhere = replace(report, masked=dict.fromkeys(report.views, np.nan))
    assert len(rows(report)[1]) == 3 + len(SEGMENTS) == len(rows(nowhere)[1]) + 1
    assert (report.restored, report.shown) == (0, []) and "0 of 12 frames restored (0 %)." in notes(report)


def test_classes_are_found_by_name(run: Run, tmp_path: Path) -> None:
    turned = (
        replace(frame, label=np.where(frame.label == VOID, VOID, 3 - frame.label).astype(np.uint8))
        for frame in frames()
    )
    report = run(bag_of(tmp_path / "bag", turned, SEGMENTS[::-1]))
    assert report.views["dry"].miou == 100 and report.views["wet"].classes["sky"] == 100


def test_without_labels_the_dry_images_are_the_reference(run: Run, tmp_path: Path) -> None:
    report = run(bag_of(tmp_path / "bag", frames(with_labels=False)))
    assert report.reference == f"the segmentation of the dry images, because the bag has no labels on {LABELS}"
    assert report.views["dry"].miou == report.views["restored"].miou == 100
    assert report.views["wet"].miou == pytest.approx(50)
    assert any(note.startswith("Reference: the segmentation of the dry images") for note in notes(report))


def test_labels_of_other_classes_are_no_reference(run: Run, tmp_path: Path) -> None:
    report = run(bag_of(tmp_path / "bag", frames(), ("road", "lawn", "tree", "sea")))
    assert "the segmenter does not know the classes lawn, sea of the bag's labels" in report.reference
    report = run(without(tmp_path / "bag", tmp_path / "unnamed", CLASSES))
    assert f"no message on {CLASSES} names the classes" in report.reference and report.views["dry"].miou == 100


def test_labels_without_dry_images(run: Run, tmp_path: Path) -> None:
    report = run(without(bag_of(tmp_path / "bag", frames(), SEGMENTS), tmp_path / "labels", DRY))
    assert list(report.views) == ["wet", "restored"] and report.views["wet"].miou == pytest.approx(50)
    assert report.won_back is None and any("no dry images on" in note for note in notes(report))


def test_what_a_bag_lacks_is_told(run: Run, tmp_path: Path) -> None:
    whole = bag_of(tmp_path / "bag", frames(), SEGMENTS)
    made = r"`derain rain sequence SCENES NAME --bag` writes one"
    with pytest.raises(EvaluationError, match=rf"no labels on {LABELS}, and there are no dry images on {DRY}; {made}"):
        run(without(whole, tmp_path / "wet alone", DRY, LABELS, CLASSES, MASK))
    with pytest.raises(EvaluationError, match=rf"has no images on {WET}; {made}"):
        run(without(whole, tmp_path / "no wet", WET))
    later = [EPOCH_NS + k * 100_000_000 for k in range(DRY_FRAMES + WET_FRAMES)]
    with pytest.raises(EvaluationError, match="has no stamp with all of"):
        run(without(whole, tmp_path / "never both", LABELS, stamps=later))


def test_frames_without_a_dry_image_are_left_out_and_told(run: Run, tmp_path: Path) -> None:
    whole = bag_of(tmp_path / "bag", frames(), SEGMENTS)
    report = run(without(whole, tmp_path / "less", DRY, stamps=[EPOCH_NS, EPOCH_NS + 500_000_000]))
    assert (report.frames, report.left_out, report.restored) == (10, 2, 7)
    assert any(note.startswith("2 frames are left out") for note in notes(report))


def test_labels_of_another_size_are_told(run: Run, tmp_path: Path) -> None:
    cut = (replace(frame, label=frame.label[:8]) for frame in frames())
    with pytest.raises(EvaluationError, match="the wet image differs in size from its reference"):
        run(bag_of(tmp_path / "bag", cut, SEGMENTS))


def test_names_that_are_no_list_are_told(run: Run, tmp_path: Path) -> None:
    whole = without(bag_of(tmp_path / "bag", frames(), SEGMENTS), tmp_path / "unnamed", CLASSES)
    with BagReader(whole) as reader, BagWriter(tmp_path / "odd") as writer:
        writer.put(CLASSES, EPOCH_NS, writer.types.types["std_msgs/msg/String"](data="road, sky"))
        for topic in reader.topics.values():
            writer.add(topic)
        for message in reader.messages():
            writer.write(message)
    with pytest.raises(EvaluationError, match=r"classes has 'road, sky', not a JSON list"):
        run(tmp_path / "odd")


def test_share_of_the_loss_won_back() -> None:
    def matrices(*right: int) -> np.ndarray:
        """Of two classes with ten pixels each, so many are right in each frame."""
        return np.stack([np.array([[n, 10 - n], [10 - n, n]]) for n in right])

    # IoU of 10 of 10 is 1, of 8 of 10 is 8 / 12, of 5 of 10 is 5 / 15.
    dry, wet = matrices(10, 10, 10, 10), matrices(5, 5, 5, 5)
    share = won_back({"wet": wet, "restored": matrices(8, 8, 8, 8), "dry": dry})
    assert share == pytest.approx((50, 50, 50))
    share = won_back({"wet": wet, "restored": matrices(10, 10, 5, 5), "dry": dry})
    assert share is not None and share[1] < share[0] < share[2]
    worse = won_back({"wet": wet, "restored": matrices(4, 4, 4, 4), "dry": dry})
    assert worse is not None and worse[0] < 0
    assert won_back({"wet": matrices(10, 10, 10, 9), "restored": dry, "dry": dry}) is None
    assert won_back({"wet": wet, "restored": dry}) is None


def test_the_sheet_shows_images_beside_their_classes(run: Run, tmp_path: Path) -> None:
    report = run(bag_of(tmp_path / "bag", frames(), SEGMENTS))
    assert len(report.shown) == 2
    for row in report.shown:
        assert np.array_equal(row["restored"][0], columns(np.array(BRIGHT) - RAIN + BRIGHTER_BY))
        assert np.array_equal(row["dry"][1], columns(BRIGHT)[..., 0] // 64)
    sheet = segmentations(report.shown, SEGMENTS, ("wet", "restored"))
    width = round(32 * 140 / 24)
    assert sheet.shape == (2 * (22 + 140) + 22, 4 * width, 3)
    shown = sheet[22 + 70]
    assert (shown[width // 8] == BRIGHT[0] - RAIN[0]).all()
    wet, restored = (shown[k * width :][:width] for k in (1, 3))
    assert not np.array_equal(wet[width // 8], restored[width // 8]) and np.array_equal(wet[-1], restored[-1])
