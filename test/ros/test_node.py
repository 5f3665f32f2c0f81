from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from ros_bench import Bench, at_ms, image_message, pixels_of, stamp, wait_for
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tiny_models import MASKED_ABOVE, write_models

Start = Callable[..., Bench]
RNG = np.random.default_rng(5)
DRY, WET = (RNG.integers(low, low + 60, (24, 36), np.uint8) for low in (10, 160))
LATCHED_LOG = QoSProfile(depth=100, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
ACCOUNTS = ("published", "dropped", "unusable")


def info_message(ms: float) -> CameraInfo:
    return CameraInfo(
        header=Header(stamp=stamp(ms), frame_id="cam"),
        height=24,
        width=36,
        distortion_model="plumb_bob",
        d=[0.1, -0.2, 0.0, 0.0, ms],
        k=[float(n) for n in range(9)],
    )


@pytest.mark.parametrize("reliable", [True, False])
def test_a_clean_pair_is_passed_on_bit_for_bit(start: Start, reliable: bool) -> None:
    bench = start(reliable).ready()
    sent = {camera: image_message(DRY, ms=100, frame_id=f"{camera}_optical", padding=12) for camera in bench.cameras}
    for camera, message in sent.items():
        bench.send(camera, message)
    for camera, message in sent.items():
        assert bench.wait_images(camera, 1) == [message]
        status, values = bench.wait_status(100)[camera]
        assert (status.message, values["kind"], status.hardware_id) == ("passed_clean", "clean", f"{camera}_optical")
        mask = wait_for(lambda camera=camera: bench.masks(camera), "a mask")[0]
        assert mask.encoding == "mono8" and at_ms(mask) == 100 and not pixels_of(mask).any()


def test_both_eyes_are_restored_where_one_is_affected(start: Start) -> None:
    bench = start().ready()
    bench.send_pair(100, DRY, WET)
    for camera, image in zip(bench.cameras, (DRY, WET), strict=True):
        restored = bench.wait_images(camera, 1)[0]
        assert np.array_equal(pixels_of(restored), image + 10)
        assert (at_ms(restored), restored.header.frame_id, restored.encoding) == (100, f"{camera}_optical", "mono8")
        mask = wait_for(lambda camera=camera: bench.masks(camera), "a mask")[0]
        assert pixels_of(mask).shape == image.shape and mask.header == restored.header
        assert np.array_equal(pixels_of(mask), (image > MASKED_ABOVE) * 255)
    status, values = bench.wait_status(100)["right"]
    assert (status.message, values["kind"], values["plan"]) == ("restored", "raindrop", "balanced")
    assert float(values["score"]) == pytest.approx(0.95, abs=1e-3)
    assert float(values["coverage"]) == pytest.approx((WET > MASKED_ABOVE).mean(), abs=1e-3)
    assert float(values["total_ms"]) >= float(values["restore_ms"]) > 0 and float(values["detect_ms"]) > 0


@pytest.mark.parametrize("encoding", ["mono8", "8UC1", "rgb8", "bgr8", "mono16"])
@pytest.mark.parametrize("padding", [0, 6])
def test_every_encoding_is_restored_as_it_came(start: Start, encoding: str, padding: int) -> None:
    bench = start().ready()
    shape = (24, 36, 3) if encoding in ("rgb8", "bgr8") else (24, 36)
    image = RNG.integers(150, 201, shape, np.uint8)
    image[:4] = 0  # all of the range is used, so that nothing is stretched
    expected = image + 10
    if encoding == "mono16":
        # The low byte is the frame's own; the network works on the upper one.
        low = RNG.integers(0, 256, shape, np.uint16)
        image, expected = (pixels.astype(np.uint16) << 8 | low for pixels in (image, expected))
    bench.send_pair(100, image, image, encoding=encoding, padding=padding)
    for camera in bench.cameras:
        restored = bench.wait_images(camera, 1)[0]
        assert (restored.encoding, restored.height, restored.width) == (encoding, 24, 36)
        assert np.array_equal(pixels_of(restored), expected)


def test_camera_info_is_beside_each_image_unchanged(start: Start) -> None:
    bench = start().ready()
    for ms in range(0, 500, 50):
        for camera in bench.cameras:
            bench.infos[camera].publish(info_message(ms))
        bench.send_pair(ms, WET, WET)
        for camera in bench.cameras:
            infos = wait_for(lambda c=camera, t=ms: [i for i in bench.camera_infos(c) if at_ms(i) == t], "camera_info")
            assert infos[0] == info_message(ms)


def test_a_camera_info_of_another_stamp_is_republished_with_every_image(start: Start) -> None:
    bench = start().ready()
    bench.infos["left"].publish(info_message(7))
    wait_for(lambda: bench.derain._topics["left"]._infos._latest, "camera_info at the node")
    for ms in range(100, 500, 50):
        bench.send_pair(ms, DRY, DRY)
        bench.wait_status(ms)
    assert (
        wait_for(lambda: len(bench.camera_infos("left")) == 8 and bench.camera_infos("left"), "8 camera_info")
        == [info_message(7)] * 8
    )
    assert bench.camera_infos("right") == []


def test_bad_images_are_counted_and_the_stream_goes_on(start: Start) -> None:
    bench = start().ready()
    unknown = image_message(DRY, "32FC1", 10)
    big_endian = image_message(DRY.astype(np.uint16), "mono16", 20)
    big_endian.is_bigendian = 1
    truncated = image_message(DRY, ms=30)
    truncated.data = truncated.data[:-1]
    short_rows = image_message(DRY, ms=40)
    short_rows.step = 35
    empty, no_data = Image(encoding="mono8"), Image(encoding="mono8", width=36, height=24, step=36)
    huge = Image(encoding="nothing", width=2**32 - 1, height=2**32 - 1, step=2**32 - 1, data=b"abc")
    for message in (unknown, big_endian, truncated, short_rows, empty, no_data, huge):
        bench.send("left", message)
    # What others may understand is passed on as it came, the rest has no pixels to pass on.
    assert bench.wait_images("left", 3) == [unknown, big_endian, short_rows]
    status, values = bench.wait_status(10)["left"]
    assert status.message == "passed_error" and "32FC1" in values["detail"]
    bench.send_pair(100, WET, WET)
    assert np.array_equal(pixels_of(bench.wait_images("left", 4)[3]), WET + 10)
    bad = {"bad_unknown_encoding": 1, "bad_big_endian": 1, "bad_truncated": 1, "bad_empty": 3, "bad_step": 1}
    assert {k: n for k, n in bench.counts("left").items() if k.startswith("bad_")} == bad
    reported = bench.wait_diagnostics(lambda d: d["derain: left"]["published"] == "4", "the counts in /diagnostics")
    assert {k: int(v) for k, v in reported["derain: left"][1].items() if k.startswith("bad_")} == bad
    assert reported["derain: left"][1]["unusable"] == "4" and reported["derain: left"][1]["waiting"] == "0"


def test_images_without_rows_or_columns_are_counted(start: Start) -> None:
    bench = start(thermal=True)
    wait_for(lambda: all(p.get_subscription_count() for p in bench.images.values()), "matched topics")
    empty = [
        Image(encoding=encoding, height=height, width=width, step=width, data=bytes(864))
        for height, width in ((0, 36), (24, 0), (0, 0))
        for encoding in ("mono8", "nv12", "bgr16", "h264")
    ]
    for camera in ("left", "thermal"):
        for message in empty:
            bench.send(camera, message)
        wait_for(lambda c=camera: bench.counts(c)["unusable"] == len(empty), "the counts")
        assert bench.counts(camera)["bad_empty"] == len(empty)
    assert not bench.derain_errors


@pytest.mark.parametrize("view", [DRY, WET], ids=["dry", "wet"])
def test_a_height_that_counts_rows_of_colours_stays_as_it_came(start: Start, view: np.ndarray) -> None:
    bench = start(cameras=["front"]).ready()
    planes = np.concatenate((view, np.full((12, 36), 128, np.uint8)))
    bench.send("front", image_message(planes, "nv12", 10))
    out = bench.wait_images("front", 1)[0]
    assert (out.height, out.width, out.step, len(out.data)) == (36, 36, 36, planes.size)
    luminance = np.frombuffer(bytes(out.data), np.uint8).reshape(36, 36)[:24].astype(int)
    assert abs((luminance - view).mean() - (0 if view is DRY else 10 * 220 / 256)) < 1
    mask = wait_for(lambda: bench.masks("front"), "the mask")[0]
    assert (mask.height, mask.width) == (24, 36)


def test_big_endian_bytes_are_counted_and_restored(start: Start) -> None:
    bench = start(cameras=["front"]).ready()
    message = image_message(WET, ms=10)
    message.is_bigendian = 1
    bench.send("front", message)
    assert np.array_equal(pixels_of(bench.wait_images("front", 1)[0]), WET + 10)
    assert bench.counts("front")["bad_big_endian"] == bench.counts("front")["restored"] == 1


def test_under_overload_the_newest_is_kept_and_every_frame_is_accounted_for(start: Start) -> None:
    bench = start().ready()
    worker = bench.derain._worker
    process, busy = worker._pipeline.process, threading.Semaphore(0)
    started = threading.Semaphore(0)

    def slow(frames: Any) -> Any:
        started.release()
        assert busy.acquire(timeout=20)
        return process(frames)

    worker._pipeline.process = slow
    bench.send_pair(0, DRY, DRY)
    assert started.acquire(timeout=20)
    for ms in range(50, 550, 50):
        bench.send_pair(ms, DRY, DRY)
    busy.release(2)
    for camera in bench.cameras:
        assert [at_ms(image) for image in bench.wait_images(camera, 2)] == [0, 500]
        counts = bench.counts(camera)
        assert (counts["received"], counts["published"], counts["dropped"]) == (11, 2, 9)


def test_a_partner_that_dies_does_not_take_the_other_with_it(start: Start) -> None:
    bench = start().ready()
    bench.send_pair(0, WET, WET)
    sent = [image_message(WET, ms=ms) for ms in range(50, 1000, 50)]
    for message in sent:
        bench.send("left", message)
        wait_for(lambda: bench.counts("left")["unpaired"] <= bench.counts("left")["published"], "passed on")
    # Nothing waits in the end: once the partner is known to be silent, each frame goes on at once.
    images = bench.wait_images("left", 1 + len(sent))
    assert images[1:] == sent
    status, values = bench.wait_status(500)["left"]
    assert status.message == "passed_unpaired" and "no frame of another camera within 5 ms" in values["detail"]
    assert bench.counts("left")["unpaired"] == len(sent)
    # It comes back: from then on it is waited for again.
    bench.send("right", image_message(WET, ms=2000))
    bench.send_pair(2050, WET, WET)
    first, passed_on, restored = (pixels_of(image) for image in bench.wait_images("right", 3))
    assert np.array_equal(first, WET + 10) and np.array_equal(passed_on, WET) and np.array_equal(restored, WET + 10)


def test_stamps_that_jump_back_start_anew(start: Start) -> None:
    bench = start().ready()
    for loop in range(3):
        for number, ms in enumerate((9000, 9050, 9100)):
            bench.send_pair(ms, WET, WET)
            bench.wait_images("right", 3 * loop + number + 1)
    assert [at_ms(image) for image in bench.wait_images("left", 9)] == [9000, 9050, 9100] * 3
    assert bench.counts("left")["restored"] == 9


def test_the_anomaly_is_latched_and_published_on_change(start: Start) -> None:
    bench = start().ready()
    seen = bench.got["/derain/anomaly"]
    assert [a.data for a in wait_for(lambda: seen, "the anomaly at activation")] == [False]
    for number, (ms, image) in enumerate([(0, DRY), (50, WET), (100, WET), (150, DRY), (200, DRY)]):
        bench.send_pair(ms, image, image)
        bench.wait_images("right", number + 1)
    wait_for(lambda: len(seen) >= 3, "the changes of the anomaly")
    assert [a.data for a in seen] == [False, True, False]


def test_a_subscriber_that_comes_late_gets_the_anomaly(start: Start) -> None:
    from ros_bench import LATCHED
    from std_msgs.msg import Bool

    bench = start().ready()
    bench.send_pair(0, WET, WET)
    bench.wait_images("right", 1)
    wait_for(lambda: len(bench.got["/derain/anomaly"]) == 2, "the anomaly")
    late: list[Bool] = []
    bench.node.create_subscription(Bool, "/derain/anomaly", late.append, LATCHED)
    assert [a.data for a in wait_for(lambda: late, "the latched anomaly")] == [True]


def test_where_models_cannot_be_loaded_frames_are_passed_on(start: Start, tmp_path: Path) -> None:
    (write_models(tmp_path) / "models.yaml").write_text("no model")
    bench = start(models=str(tmp_path)).ready("failed")
    bench.send_pair(100, WET, WET)
    assert np.array_equal(pixels_of(bench.wait_images("right", 1)[0]), WET)
    status, values = bench.wait_status(100)["left"]
    assert status.message == "passed_disabled" and status.level == b"\1" and "models.yaml" in values["detail"]
    node, values = bench.wait_diagnostics(lambda d: d["derain"]["engine"].startswith("failed"), "diagnostics")["derain"]
    assert node.level == b"\2" and "models.yaml" in node.message and values["models"] == "none"


def test_where_a_restorer_is_damaged_frames_are_passed_on_and_it_is_named(start: Start, tmp_path: Path) -> None:
    (write_models(tmp_path) / "restore_mono.onnx").write_text("no model")
    bench = start(models=str(tmp_path)).ready()
    bench.send_pair(100, WET, WET)
    assert np.array_equal(pixels_of(bench.wait_images("right", 1)[0]), WET)
    status, values = bench.wait_status(100)["left"]
    assert status.level == b"\1" and "restore_mono.onnx" in values["detail"]
    node, _ = bench.wait_diagnostics(lambda d: "restore_mono.onnx" in d["derain"]["engine"], "diagnostics")["derain"]
    assert node.level == b"\1" and "restore_mono.onnx" in node.message


def test_what_the_middleware_lost_is_counted(start: Start) -> None:
    bench = start(cameras=["front"]).ready()
    add, busy = bench.derain._intake.synchronizer.add, threading.Event()

    def slow(camera: str, frame: Any) -> Any:
        assert busy.wait(20)
        return add(camera, frame)

    bench.derain._intake.synchronizer.add = slow
    bench.send("front", image_message(DRY, ms=0))
    for ms in (50, 100, 150):
        bench.images["front"].publish(image_message(DRY, ms=ms))
    busy.set()
    # The newest are kept.
    wait_for(lambda: [image for image in bench.restored("front") if at_ms(image) == 150], "the newest image")
    counts = bench.counts("front")
    assert counts["received"] + counts["lost"] == 4 and counts["lost"] >= 1


def test_diagnostics_tell_rates_latency_and_models(start: Start) -> None:
    bench = start().ready()
    for ms in range(0, 500, 50):
        bench.send_pair(ms, WET, WET)
        bench.wait_status(ms)
    found = bench.wait_diagnostics(lambda d: d["derain: right"]["published"] == "10", "ten published")
    status, values = found["derain"]
    assert values["engine"] == "ready" and values["state"] == "active"
    assert "restore_mono by onnxruntime on cpu" in values["models"]
    assert 0 < float(values["latency_p50_ms"]) <= float(values["latency_p95_ms"]) <= float(values["latency_p99_ms"])
    assert values["budget_misses"] == "0" and status.level == b"\0"
    left = found["derain: left"][1]
    assert left["restored"] == "10" and left["dropped"] == left["unpaired"] == left["lost"] == left["waiting"] == "0"
    later = bench.wait_diagnostics(
        lambda d: (
            d["derain: left"]["rate_in_hz"] == "0.0"
            and d["derain: left"]["received"] == "10"
            and "alarm" not in d["derain: left"]
        ),
        "seconds without frames",
    )
    assert later["derain: left"][0].message == "no frames"


def test_one_camera_needs_no_partner_and_thermal_is_never_waited_for(start: Start) -> None:
    bench = start(cameras=["front"], thermal=True).ready()
    bench.send("front", image_message(WET, ms=10))
    assert np.array_equal(pixels_of(bench.wait_images("front", 1)[0]), WET + 10)
    bench.send("thermal", image_message(DRY, ms=11))
    bench.send("thermal", Image(encoding="mono8"))
    bench.send("front", image_message(WET, ms=20))
    bench.wait_images("front", 2)
    assert bench.counts("thermal") == {"received": 2, "bad_empty": 1, "unusable": 1}


def test_compressed_images_come_out_raw(start: Start) -> None:
    import cv2
    from sensor_msgs.msg import CompressedImage

    bench = start(transport="compressed").ready()
    colour = np.stack([WET, WET - 20, WET - 40], axis=2)
    wide = WET.copy()
    wide[:4] = 0  # all of the range is used, so that nothing is stretched
    for ms, image, form, encoding, expected in (
        (0, WET, "mono8; png compressed mono8", "mono8", WET + 10),
        (50, colour, "png", "bgr8", colour + 10),
        (100, colour, "rgb8; png compressed bgr8", "rgb8", colour[..., ::-1] + 10),
        (150, wide.astype(np.uint16) << 8, "mono16; png compressed", "mono16", (wide + 10).astype(np.uint16) << 8),
    ):
        data = cv2.imencode(".png", image)[1].tobytes()
        for camera in bench.cameras:
            bench.send(camera, CompressedImage(header=Header(stamp=stamp(ms)), format=form, data=data))
        bench.wait_status(ms)
        image_out = wait_for(lambda t=ms: [i for i in bench.restored("left") if at_ms(i) == t], "the image")[0]
        assert image_out.encoding == encoding and np.array_equal(pixels_of(image_out), expected)
    bench.send("left", CompressedImage(format="jpeg", data=b"no image"))
    bench.send("left", CompressedImage(format="jpeg"))
    assert {k: n for k, n in bench.counts("left").items() if k.startswith("bad_")} == {
        "bad_undecodable": 1,
        "bad_empty": 1,
    }


def test_the_time_to_decode_an_image_counts_as_latency(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    from derain_ros.ros import intake

    bench = start().ready()
    jobs: list[Any] = []
    monkeypatch.setattr(bench.derain._worker, "put", jobs.append)
    arrived: list[int] = []

    def slow(message: Image, received_ns: int) -> Any:
        arrived.append(received_ns)
        while time.monotonic_ns() - received_ns < 5_000_000:
            pass
        return frame_of(message, received_ns)

    frame_of = intake.frame_of
    monkeypatch.setattr(intake, "frame_of", slow)
    bench.send_pair(0, WET, WET)
    assert wait_for(lambda: jobs, "a frame set")[0].frames.received_ns == arrived[1]


def test_what_the_library_logs_reaches_the_log_of_ros(start: Start) -> None:
    import logging

    from rcl_interfaces.msg import Log

    # A node of this name that an earlier test has left to be collected would take the log of this one with it.
    gc.collect()
    bench = start().ready()
    lines: list[Any] = []
    bench.node.create_subscription(Log, "/rosout", lines.append, LATCHED_LOG)
    logging.getLogger("derain_ros.runtime").warning("a word of warning")
    logging.getLogger("derain_ros.engine").info("which engine, and why")
    for text, level in (("a word of warning", Log.WARN), ("which engine, and why", Log.INFO)):
        wait_for(
            lambda text=text, level=level: [
                line for line in lines if line.msg == text and line.name == "derain" and line.level == level
            ],
            text,
        )
    bench.derain.destroy_node()
    assert logging.getLogger("derain_ros").level == logging.NOTSET, "its user's settings are left as they were"


def test_a_frame_set_that_cannot_be_published_ends_nothing(start: Start) -> None:
    bench = start().ready()
    topics = bench.derain._topics["right"]
    publish, topics.publish = topics.publish, lambda frame, done: 1 / 0
    bench.send_pair(0, WET, WET)
    wait_for(lambda: bench.counts("right")["dropped"] == 1, "the loss to be counted")
    topics.publish = publish
    bench.send_pair(50, WET, WET)
    assert np.array_equal(pixels_of(bench.wait_images("right", 1)[0]), WET + 10)
    for camera in bench.cameras:
        counts = bench.counts(camera)
        assert counts["received"] == sum(counts[key] for key in ACCOUNTS)
