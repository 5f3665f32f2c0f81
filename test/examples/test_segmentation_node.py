"""The segmentation node of the examples beside the real node, over DDS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy  # noqa: E402
from live_example import message_at, send_until_restored  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from ros_bench import LATCHED, RELIABLE, Spinning, at_ms, image_message, pixels_of, wait_for  # noqa: E402
from segmentation_node import Segmentation  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from tiny_models import BRIGHTER_BY, MASKED_ABOVE, SEGMENTS, write_models  # noqa: E402
from waiting import PATIENCE_S  # noqa: E402

from derain_ros.manifest import ManifestError  # noqa: E402
from derain_ros.runtime.labels import VOID, overlay  # noqa: E402

ROOT = Path(__file__).parents[2]
# Taken for wet; the restored image is brighter, which moves the first columns into the next class.
WET = np.full((40, 60), 120, np.uint8)
WET[:, 20:40], WET[:, 40:] = 150, MASKED_ABOVE + 1


class Listening:
    """The example with parameters, and a node that sends it images and keeps what it publishes."""

    def __init__(self, context: Any, models: Path, **parameters: Any) -> None:
        given = {"models": str(models), "engine": "onnxruntime", **parameters}
        example = Segmentation(
            context=context, parameter_overrides=[Parameter(name, value=value) for name, value in given.items()]
        )
        self.example, self.node = example, rclpy.create_node("listener", context=context)
        self.got: dict[str, list[Any]] = {name: [] for name in ("labels", "overlay", "classes")}
        self.images = self.node.create_publisher(Image, "derained/left/image_raw", RELIABLE)
        self.masks = self.node.create_publisher(Image, "derained/left/anomaly_mask", RELIABLE)
        for name in ("labels", "overlay"):
            self.node.create_subscription(Image, f"segmentation/{name}", self.got[name].append, RELIABLE)
        self.node.create_subscription(String, "segmentation/classes", self.got["classes"].append, LATCHED)
        self.spinning = [Spinning(self.node, context), Spinning(example, context)]
        topics = ["derained/left/anomaly_mask"] * bool(parameters.get("void_masked")) + ["derained/left/image_raw"]
        wait_for(lambda: all(self.node.count_subscribers(topic) for topic in topics), "the example's subscriptions")
        wait_for(lambda: all(example.count_subscribers(f"segmentation/{n}") for n in self.got), "the listener's")
        wait_for(lambda: self.images.get_subscription_count() == 1, "matched topics")

    def send(self, *arguments: Any, **named: Any) -> Image:
        """Publish an image; returns it."""
        message = image_message(*arguments, **named)
        self.images.publish(message)
        return message

    def stop(self) -> None:
        """Destroy both nodes."""
        for one in reversed(self.spinning):
            one.stop()


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[..., Listening]]:
    """Start the example with these parameters and something that listens to it."""
    context = rclpy.Context()
    rclpy.init(context=context)
    models = write_models(tmp_path / "models", with_segmenter=True)
    running: list[Listening] = []

    def listen(**parameters: Any) -> Listening:
        running.append(Listening(context, models, **parameters))
        return running[-1]

    yield listen
    for one in running:
        one.stop()
        assert not one.spinning[1].errors
    rclpy.try_shutdown(context=context)


@pytest.mark.parametrize("void_masked", [False, True])
def test_restored_images_are_segmented(void_masked: bool, start: Callable[..., Any], tmp_path: Path) -> None:
    models = write_models(tmp_path / "with a segmenter", with_segmenter=True)
    given = {"models": str(models), "engine": "onnxruntime", "void_masked": void_masked}
    parameters = [Parameter(name, value=value) for name, value in given.items()]
    bench = start(lambda context: Segmentation(context=context, parameter_overrides=parameters))
    labels: list[Image] = []
    subscription = bench.node.create_subscription(Image, "segmentation/labels", labels.append, RELIABLE)
    bench.ready()
    wait_for(lambda: subscription.get_publisher_count(), "the labels' publisher")
    topics = ["derained/left/image_raw"] + ["derained/left/anomaly_mask"] * void_masked
    wait_for(lambda: all(bench.derain.count_subscribers(t) == 2 for t in topics), "the example's subscriptions")

    restored = send_until_restored(bench, WET, WET)
    message = message_at(labels, restored, "labels")
    image = message_at(bench.restored("left"), restored, "an image")
    mask = pixels_of(message_at(bench.masks("left"), restored, "a mask"))
    assert (message.header, message.encoding, message.step) == (image.header, "mono8", 60)
    expected = (WET.astype(int) + BRIGHTER_BY) // 64
    assert (expected[:, :20] == 2).all() and mask[:, 40:].all() and not mask[:, :40].any()
    if void_masked:
        expected[mask > 0] = VOID
    assert np.array_equal(pixels_of(message), expected)


@pytest.mark.parametrize(
    ("encoding", "padding"), [("mono8", 5), ("rgb8", 7), ("bgr8", 0), ("mono16", 0), ("bayer_rggb8", 0)]
)
def test_any_encoding_is_segmented(encoding: str, padding: int, listen: Callable[..., Listening]) -> None:
    listening = listen()
    grey = np.repeat(np.array([[20, 90, 150, 250]], np.uint8), 10, axis=1).repeat(22, axis=0)
    pixels = {"mono16": grey.astype(np.uint16) * 257}.get(encoding, grey)
    pixels = np.dstack([grey, grey, grey]) if encoding in ("rgb8", "bgr8") else pixels
    sent = listening.send(pixels, encoding, 1500.0, "left_optical", padding)
    labels, shown = (message_at(listening.got[name], 1500.0, name) for name in ("labels", "overlay"))
    assert labels.header == shown.header == sent.header and (labels.encoding, shown.encoding) == ("mono8", "rgb8")
    inner = np.tile(np.arange(4).repeat(10), (22, 1))[:, 2:8]
    assert np.array_equal(pixels_of(labels)[:, 2:8], inner) and pixels_of(labels).max() == 3
    if encoding != "mono16":  # stretched to what its values use
        assert np.array_equal(pixels_of(shown)[:, 2:8], overlay(np.dstack([grey] * 3), pixels_of(labels))[:, 2:8])
    (names,) = wait_for(lambda: listening.got["classes"], "the classes")
    assert tuple(json.loads(names.data)) == SEGMENTS


class Held:
    """An engine whose runs wait until they may begin; `begun` counts those that would."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.name, self.begun, self.may = engine, engine.name, 0, threading.Event()

    def run(self, **images: np.ndarray) -> dict[str, np.ndarray]:
        self.begun += 1
        assert self.may.wait(PATIENCE_S)
        return self.engine.run(**images)


@pytest.mark.parametrize("void_masked", [False, True])
def test_the_newest_image_wins(void_masked: bool, listen: Callable[..., Listening]) -> None:
    listening = listen(void_masked=void_masked)
    if void_masked:
        wait_for(lambda: listening.masks.get_subscription_count() == 1, "matched masks")
    held = listening.example._engine = Held(listening.example._engine)
    try:
        for ms in (10.0, 20.0, 30.0, 40.0):
            listening.send(WET, ms=ms)
            if void_masked:
                listening.masks.publish(image_message(np.zeros_like(WET), ms=ms))
            wait_for(lambda: held.begun == 1, "the first image")
    finally:
        held.may.set()
    message_at(listening.got["labels"], 40.0, "labels of the newest image")
    stamps = [at_ms(message) for message in listening.got["labels"]]
    assert stamps[0] == 10.0 and len(stamps) < 4, "no queue was worked off"


def test_bad_images_are_counted_and_the_next_is_segmented(listen: Callable[..., Listening]) -> None:
    listening = listen()
    listening.send(WET, "mono9", 10.0)
    wait_for(lambda: listening.example.skipped == 1, "an unknown encoding")
    truncated = image_message(WET, ms=20.0)
    truncated.data = truncated.data[:100]
    listening.images.publish(truncated)
    wait_for(lambda: listening.example.skipped == 2, "a truncated image")
    listening.send(WET, ms=30.0)
    assert np.array_equal(pixels_of(message_at(listening.got["labels"], 30.0, "labels")), WET // 64)
    assert len(listening.got["labels"]) == 1 and listening.example.skipped == 2


def test_a_mask_of_another_size_is_counted(listen: Callable[..., Listening]) -> None:
    listening = listen(void_masked=True)
    wait_for(lambda: listening.masks.get_subscription_count() == 1, "matched masks")
    for ms, mask in ((10.0, WET[:8]), (20.0, np.where(WET > 140, 255, 0).astype(np.uint8))):
        listening.send(WET, ms=ms)
        listening.masks.publish(image_message(mask, ms=ms))
        wait_for(lambda: listening.example.skipped == 1, "a mask that does not fit")
    labels = pixels_of(message_at(listening.got["labels"], 20.0, "labels"))
    assert np.array_equal(labels, np.where(WET > 140, VOID, WET // 64))


@pytest.mark.parametrize(
    ("parameters", "told"),
    [({"model": "nonesuch"}, "nonesuch: no such model"), ({"model": "detect"}, "detect: is no segmenter")],
)
def test_what_is_no_segmenter_is_told(parameters: dict[str, str], told: str, listen: Callable[..., Listening]) -> None:
    with pytest.raises(ManifestError, match=told):
        listen(**parameters)


def test_it_runs_as_the_launch_file_starts_it(tmp_path: Path) -> None:
    """In a process of its own, with an argument that is left empty; Ctrl-C ends it in order."""
    command = [sys.executable, str(ROOT / "examples/segmentation_node.py"), "--ros-args", "-r", "__ns:=/camera"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    lacking = subprocess.run(
        [*command, "-p", "model:=nonesuch", "-p", "models:=''"], env=environment, capture_output=True, text=True
    )
    assert lacking.returncode == 1 and "segmentation: nonesuch: no such model in" in lacking.stderr
    assert "Traceback" not in lacking.stderr
    models = write_models(tmp_path, with_segmenter=True)
    with subprocess.Popen(
        [*command, "-p", f"models:={models}", "-p", "void_masked:=true"], env=environment, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if b"segment on" in line)
        assert b"/camera" in line or b"camera.segmentation" in line
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
