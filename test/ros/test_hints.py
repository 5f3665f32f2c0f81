"""What the node tells a user to change: by itself, and over DDS as it happens on a robot."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ros_bench import Bench, Spinning, image_message, pixels_of, stamp, wait_for
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from derain_ros.engine.cache import write_whole
from derain_ros.ros import hints
from derain_ros.ros.hints import Hints, frozen, lost, standing, unpaired

Start = Callable[..., Bench]
WET = np.full((24, 36), 160, np.uint8)
PERIOD_S = 0.05
TOPICS = {"left": "/left/image_raw", "right": "/right/image_raw"}
MS = 1_000_000


class Stream:
    """Images of these cameras at 20 Hz, in a thread of its own; `apart_ms` is what each adds to the stamps."""

    def __init__(self, bench: Bench, **apart_ms: float) -> None:
        self._bench, self._apart_ms = bench, apart_ms
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        ms = 1000.0
        while not self._ending.wait(PERIOD_S):
            ms += 1e3 * PERIOD_S
            for camera, apart in self._apart_ms.items():
                self._bench.images[camera].publish(self._message(ms + apart))

    def _message(self, ms: float) -> Any:
        if next(iter(self._bench.images.values())).msg_type is Image:
            return image_message(WET, ms=ms)
        png = cv2.imencode(".png", WET)[1].tobytes()
        return CompressedImage(header=Header(stamp=stamp(ms)), format="mono8; png compressed mono8", data=png)

    def end(self) -> None:
        self._ending.set()
        self._thread.join()


@pytest.fixture
def stream() -> Iterator[Callable[..., Stream]]:
    streams: list[Stream] = []

    def begin(bench: Bench, **apart_ms: float) -> Stream:
        streams.append(Stream(bench, **apart_ms))
        return streams[-1]

    yield begin
    for each in streams:
        each.end()


def logged(bench: Bench) -> list[str]:
    """The node's warnings from now on."""
    lines: list[str] = []
    bench.derain.get_logger().warning = lines.append  # type: ignore[method-assign]
    return lines


def hint_of(bench: Bench, words: str) -> str:
    """The hints in the first /diagnostics with these words among them."""
    status, values = bench.wait_diagnostics(lambda d: words in d["derain"]["hints"], words)["derain"]
    assert status.level >= b"\1" and values["hints"] in status.message
    return values["hints"]


def test_of_two_cameras_only_one_delivers(start: Start, stream: Callable[..., Stream]) -> None:
    bench = start().ready()
    lines = logged(bench)
    stream(bench, left=0.0)
    assert "only /left/image_raw delivers: set cameras:=[left]" in hint_of(bench, "cameras:=")
    wait_for(lambda: any("set cameras" in line for line in lines), "the hint in the log")
    reports = len(bench.got["/diagnostics"])
    wait_for(lambda: len(bench.got["/diagnostics"]) > reports + 3, "another window")
    # A busy machine loses images as well, and says so.
    assert sum("set cameras:=[left]" in line for line in lines) == 1


def test_stamps_that_differ_pair_once_the_hint_is_followed(start: Start, stream: Callable[..., Stream]) -> None:
    from rclpy.parameter import Parameter

    bench = start().ready()
    stream(bench, left=0.0, right=18.0)
    assert hint_of(bench, "stamps") == (
        "stamps of left and right differ by about 18 ms; pair_tolerance_ms is 5: set "
        "pair_tolerance_ms:=25 if they show the same instant"
    )
    assert not bench.counts("left")["restored"]
    bench.derain.set_parameters([Parameter("pair_tolerance_ms", value=25)])
    bench.got["/diagnostics"].clear()
    bench.wait_diagnostics(
        lambda d: not d["derain"]["hints"] and int(d["derain: left"]["restored"]) > 20, "restored pairs and no hint"
    )


def test_two_nodes_that_publish_one_topic_are_named(start: Start, context: Any) -> None:
    import rclpy

    bench = start().ready()
    lines = logged(bench)
    other = rclpy.create_node("second_driver", namespace="rig", context=context)
    for topic in ("/left/image_raw", "/derained/right/anomaly_mask"):
        other.create_publisher(Image, topic, 1)
    spinning = Spinning(other, context)
    try:
        found = hint_of(bench, "/derained/right/anomaly_mask")
        assert "/left/image_raw is published by /bench and /rig/second_driver: stop one" in found
        assert "/derained/right/anomaly_mask is published by /rig/second_driver as well" in found
        wait_for(lambda: len(lines) == 2, "both hints in the log")
    finally:
        spinning.stop()
    bench.got["/diagnostics"].clear()
    bench.wait_diagnostics(lambda d: not d["derain"]["hints"], "no hint once it is gone")


def test_images_that_the_middleware_loses_are_told_of_with_the_profile(
    start: Start, stream: Callable[..., Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = start(cameras=["front"]).ready()
    lines = logged(bench)
    take = bench.derain._intake.take

    def slow(*arguments: Any) -> None:
        time.sleep(2.5 * PERIOD_S)  # two of three images are lost
        take(*arguments)

    monkeypatch.setattr(bench.derain._intake, "take", slow)
    stream(bench, front=0.0)
    found = hint_of(bench, "get lost")
    assert "of the images on /front/image_raw" in found and "FASTRTPS_DEFAULT_PROFILES_FILE=" in found
    assert "fastdds.xml" in found and "% of" in wait_for(lambda: lines, "the hint in the log")[0]


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_a_single_camera_is_restored_without_a_hint(
    start: Start, stream: Callable[..., Stream], transport: str
) -> None:
    bench = start(arguments=("-p", "cameras:=[left]", "-p", f"transport:={transport}")).ready()
    assert bench.cameras == ["left"] and list(bench.images) == ["left"]
    lines = logged(bench)
    stream(bench, left=0.0)
    for image in bench.wait_images("left", 80):
        assert np.array_equal(pixels_of(image), WET + 10)
    found = bench.wait_diagnostics(lambda d: int(d["derain: left"]["published"]) >= 80, "a report")
    status, values = found["derain"]
    assert (status.level, status.message, values["hints"]) == (b"\0", "restoring", "") and set(found) == {
        "derain",
        "derain: left",
    }
    assert bench.counts("left")["unpaired"] == 0 and not lines


def counted(**cameras: tuple[int, int]) -> dict[str, Counter[str]]:
    """Counts of received and unpaired frames."""
    return {name: Counter(received=received, unpaired=alone) for name, (received, alone) in cameras.items()}


def arrivals(apart_ms: float, period_ms: float = 50.0, first: str = "left") -> list[tuple[str, int]]:
    """Frames of both cameras that arrive together, with stamps so far apart."""
    found = []
    for n in range(20):
        both = [
            ("left", round(1e6 * MS + n * period_ms * MS)),
            ("right", round(1e6 * MS + (n * period_ms + apart_ms) * MS)),
        ]
        found += both if first == "left" else both[::-1]
    return found


def told(counts: dict[str, Counter[str]], seen: list[tuple[str, int]] | None = None, losing: bool = False) -> str:
    return unpaired(counts, 3.0, seen or [], 5.0, TOPICS, losing)


BOTH = counted(left=(60, 60), right=(60, 58))


@pytest.mark.parametrize("first", ["left", "right"])
@pytest.mark.parametrize(
    ("apart_ms", "said"),
    [
        (18, "differ by about 18 ms; pair_tolerance_ms is 5: set pair_tolerance_ms:=25"),
        (-7, "differ by about 7 ms; pair_tolerance_ms is 5: set pair_tolerance_ms:=10"),
        (120, "than the 50 ms from frame to frame: their clocks differ"),
        (3_600_000, "their clocks differ"),
        (-250, "their clocks differ"),
        (4, ""),
    ],
)
def test_what_is_said_of_stamps_apart(apart_ms: float, said: str, first: str) -> None:
    found = told(BOTH, arrivals(apart_ms, first=first))
    assert said in found and bool(found) == bool(said)


def test_how_far_clocks_are_apart_is_told() -> None:
    assert "stamps about 3600.0 s apart" in told(BOTH, arrivals(3_600_000))


def test_a_tolerance_that_is_suggested_can_be_set() -> None:
    assert "pair_tolerance_ms:=1000 " in told(BOTH, arrivals(950, period_ms=4000))


def test_cameras_of_different_rates_are_told_of() -> None:
    found = told(counted(left=(90, 60), right=(30, 0)), arrivals(0))
    assert "different rates, left 30.0 Hz and right 10.0 Hz" in found


@pytest.mark.parametrize(
    "counts",
    [counted(left=(60, 20), right=(60, 20)), counted(left=(0, 0), right=(0, 0)), counted(left=(60, 0), right=(0, 0))],
)
def test_nothing_is_said_where_most_frames_pair(counts: dict[str, Counter[str]]) -> None:
    assert told(counts, arrivals(18)) == ""


def test_frames_whose_counterparts_got_lost_are_no_matter_of_stamps() -> None:
    assert told(BOTH, arrivals(18), losing=True) == ""
    assert "cameras:=[left]" in told(counted(left=(60, 60), right=(0, 0)), losing=True)


def test_of_three_cameras_those_that_deliver_are_named() -> None:
    topics = {name: f"/{name}/image_raw" for name in "abc"}
    found = unpaired(counted(a=(9, 9), b=(0, 0), c=(9, 9)), 3.0, [], 5.0, topics)
    assert "only /a/image_raw and /c/image_raw deliver: set cameras:=[a, c], or start /b/image_raw" in found


def test_cameras_of_which_one_cannot_be_read_have_no_stamps_to_compare() -> None:
    assert told(counted(left=(60, 60), right=(60, 60)), [("left", n * MS) for n in range(20)]) == ""


@pytest.mark.parametrize(("received", "missing", "told_of"), [(95, 5, False), (90, 10, True), (1, 2, False)])
def test_losses_are_told_of_from_a_share_on(received: int, missing: int, told_of: bool) -> None:
    assert bool(lost({"left": Counter(received=received, lost=missing)}, TOPICS)) == told_of


def test_another_middleware_has_no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "get_rmw_implementation_identifier", lambda: "rmw_cyclonedds_cpp")
    found = lost({"left": Counter(received=50, lost=50)}, TOPICS)["left"]
    assert found.startswith("50% of the images on /left/image_raw get lost") and "FASTRTPS" not in found


class QuietNode:
    """A node whose topics nobody shares, and which keeps what is logged."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def get_logger(self) -> QuietNode:
        return self

    def warning(self, line: str) -> None:
        self.warnings.append(line)

    def count_publishers(self, topic: str) -> int:
        return 1


def test_a_hint_is_logged_once_a_minute_and_goes_when_its_cause_does() -> None:
    node = QuietNode()
    judge, counts = Hints(node), counted(left=(0, 0), right=(0, 0))  # type: ignore[arg-type]
    standing = []
    for second in range(200):
        if second < 130:
            counts = counts | counted(left=(20 * second, 20 * second))
        standing.append(judge.look(float(second), counts, [], 5.0, TOPICS, []))
    assert not any(standing[:3]) and all(standing[4:130]) and not any(standing[135:])
    assert len(node.warnings) == 3 and len(set(node.warnings)) == 1


def test_a_slow_camera_is_judged_by_enough_frames() -> None:
    node = QuietNode()
    judge = Hints(node)  # type: ignore[arg-type]
    for second in range(12):
        # Four frames wait for a counterpart before the first is given up.
        counts = counted(left=(second, second if second > 4 else 0), right=(0, 0))
        judge.look(float(second), counts, [], 5.0, TOPICS, [])
        assert bool(node.warnings) == (second >= hints.FRAMES), second


def arrivals_of(**stamps_ms: list[float]) -> list[tuple[str, int]]:
    return [(camera, round(stamp * MS)) for camera, stamps in stamps_ms.items() for stamp in stamps]


@pytest.mark.parametrize(
    "stamps",
    [
        [0.0] * 20,
        [n / 1e6 for n in range(20)],
        [-50.0 * n for n in range(20)],
        [50.0 * (n // 2) for n in range(20)],
        [50.0 * n - (n % 6 == 5) * 80 for n in range(20)],
    ],
    ids=["alike", "counted", "backwards", "twice", "every sixth back"],
)
def test_stamps_that_do_not_advance_are_told(stamps: list[float]) -> None:
    steady = [50.0 * n for n in range(20)]
    told = standing(arrivals_of(left=steady, right=stamps), TOPICS)
    assert set(told) == {"right"}
    assert "stamps do not advance on /right/image_raw" in told["right"] and "let the driver" in told["right"]
    assert not standing(arrivals_of(left=steady, right=[*steady[10:], *steady[:10]]), TOPICS), "a loop is no fault"
    assert not standing([], TOPICS)


def test_stamps_that_stand_still_are_told_and_the_flag_rises_all_the_same(start: Start) -> None:
    bench = start().ready()

    def told() -> str:
        for camera in TOPICS:
            bench.send(camera, image_message(WET, ms=77.0))
        time.sleep(PERIOD_S)
        return next(
            (
                values.value
                for message in bench.got["/diagnostics"]
                for status in message.status
                for values in status.values
                if values.key == "hints" and "do not advance" in values.value
            ),
            "",
        )

    hint = wait_for(told, "the hint")
    assert "/left/image_raw" in hint and "/right/image_raw" in hint
    assert [message.data for message in bench.got["/derain/anomaly"]] == [False, True]


@pytest.mark.parametrize(
    ("stamped", "said"),
    [
        (True, "/thermal/image_raw repeats the same image"),
        (False, "stamps do not advance on /thermal/image_raw"),
    ],
)
def test_a_thermal_camera_that_is_frozen_is_told(start: Start, stamped: bool, said: str) -> None:
    bench = start(thermal=True).ready()
    lines = logged(bench)
    heat, ms = np.full((24, 36), 9000, np.uint16), 0.0

    def told() -> bool:
        nonlocal ms
        ms += 100
        for camera in ("left", "right"):
            bench.send(camera, image_message(WET + np.uint8(ms // 100 % 7), ms=ms))
        seen = heat if stamped else heat + np.uint16(ms // 100)
        bench.send("thermal", image_message(seen, "mono16", ms=ms if stamped else 77.0))
        time.sleep(PERIOD_S)
        return any(said in line for line in lines)

    wait_for(told, "the hint in the log")
    other = "repeats the same image" if not stamped else "do not advance"
    assert not any(other in line for line in lines) and not any("left" in line or "right" in line for line in lines)
    assert said in hint_of(bench, said)


@pytest.mark.parametrize(
    ("counts", "told_of"),
    [
        ({"left": (60, 0), "right": (60, 60)}, {"right"}),
        ({"left": (60, 60), "right": (60, 60)}, set()),
        ({"left": (60, 60)}, set()),
        ({"left": (60, 0), "right": (60, 40)}, set()),
        ({"left": (60, 0), "right": (0, 0)}, set()),
        ({"left": (60, 0), "right": (2, 2)}, set()),
        ({"left": (0, 0), "right": (0, 0)}, set()),
    ],
)
def test_a_camera_is_frozen_where_another_one_is_not(counts: dict[str, tuple[int, int]], told_of: set[str]) -> None:
    counted = {camera: Counter(received=received, repeated=repeated) for camera, (received, repeated) in counts.items()}
    assert set(frozen(counted, TOPICS)) == told_of


@pytest.mark.parametrize("outputs", [True, False])
def test_a_folder_for_engines_that_cannot_be_written_is_told_until_it_can(
    start: Start, tmp_path: Path, outputs: bool
) -> None:
    bench = start(outputs=outputs)
    wait_for(lambda: bench.got["/diagnostics"], "the first report")
    (tmp_path / "full").write_text("where the folder should be")
    write_whole(tmp_path / "full/choice.json", b"{}")
    assert f"cannot be kept in {tmp_path / 'full'}" in hint_of(bench, "compiled engines")
    write_whole(tmp_path / "choice.json", b"{}")
    bench.got["/diagnostics"].clear()
    bench.wait_diagnostics(lambda d: not d["derain"]["hints"], "a report without it")
