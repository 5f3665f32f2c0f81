"""The recorded drive: its phases, and that a wet frame is the dry one seen through drops."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from waiting import is_running, wait_for

from derain_ros.replay.bag import BagReader
from derain_ros.replay.drive import Drive, record
from derain_ros.replay.topics import choose
from derain_ros.runtime.input.messages import frame_of

DRIVE = Drive(seconds=1.0, rate=10.0, width=160, height=120)


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("a drive")
    told: list[int] = []
    record(DRIVE, directory / "drive", directory / "truth", lambda done, total: told.append(done))
    assert told == list(range(1, 11))
    return directory / "drive", directory / "truth"


def images(bag: Path) -> dict[str, dict[int, np.ndarray]]:
    found: dict[str, dict[int, np.ndarray]] = {}
    with BagReader(bag) as reader:
        for message in reader.messages():
            if message.topic.endswith("image_raw"):
                frame = frame_of(reader.decode(message))
                found.setdefault(message.topic, {})[frame.stamp_ns] = frame.image
    return found


def test_phases() -> None:
    assert [DRIVE.wet(k) for k in range(10)] == [()] * 2 + [("left",)] * 3 + [("left", "right")] * 3 + [()] * 2
    assert sum(DRIVE.truth("left").values()) == 6 and sum(DRIVE.truth("right").values()) == 3
    assert len({DRIVE.stamp_ns(k) for k in range(10)}) == 10


def test_topics(bags: tuple[Path, Path]) -> None:
    with BagReader(bags[0]) as reader:
        counts = {t.name: t.count for t in reader.topics.values()}
        cameras = choose(reader.topics)
        assert not reader.damage
    assert counts == {
        "/left/image_raw": 10,
        "/left/camera_info": 10,
        "/right/image_raw": 10,
        "/right/camera_info": 10,
        "/thermal/image_raw": 10,
        "/thermal/camera_info": 10,
        "/vehicle/pose": 10,
    }
    assert set(cameras.images) == {"left", "right"} and cameras.thermal == "/thermal/image_raw"


def test_wet_frames_differ_from_the_truth_only_where_the_drops_are(bags: tuple[Path, Path]) -> None:
    seen, truth = images(bags[0]), images(bags[1])
    for camera, count in (("left", 6), ("right", 3)):
        dry = truth[f"/truth/{camera}/image_raw"]
        assert set(dry) == {stamp for stamp, wet in DRIVE.truth(camera).items() if wet} and len(dry) == count
        change = [np.abs(seen[f"/{camera}/image_raw"][stamp].astype(int) - dry[stamp]) for stamp in dry]
        assert all(c.mean() > 1.0 for c in change)
        # The drops stick to the glass: what stays untouched in one frame stays so in all.
        still = np.mean([c < 2 for c in change], axis=0)
        assert 0.05 < (still > 0.9).mean() < 0.95


def test_the_scene_moves(bags: tuple[Path, Path]) -> None:
    frames = list(images(bags[0])["/right/image_raw"].values())
    assert np.abs(frames[0].astype(int) - frames[1]).mean() > 3


def test_what_renders_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from derain_ros.replay.drive import Drive, record\n"
        "if __name__ == '__main__':\n"
        "    record(Drive(seconds=1000.0, width=160, height=120), Path(sys.argv[1]), Path(sys.argv[2]),\n"
        "           lambda done, total: print(done, flush=True))\n"
    )
    (tmp_path / "program.py").write_text(code)
    with subprocess.Popen(
        [sys.executable, tmp_path / "program.py", tmp_path / "drive", tmp_path / "truth"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "1\n"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) > 1 and all(is_running(int(child)) for child in children)
        process.kill()
    wait_for(lambda: not any(is_running(int(child)) for child in children), "the end of all of them")
