"""A bench for the node: real rclpy and real DDS, seen by nobody outside the test."""

from __future__ import annotations

import array
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Bool, Header
from waiting import wait_for

from derain_ros.frame import Frame, FrameSet
from derain_ros.ros.node import DerainNode

RELIABLE = QoSProfile(depth=200, reliability=QoSReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=200, reliability=QoSReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


def stamp(ms: float) -> Time:
    """A stamp at so many milliseconds."""
    return Time(sec=int(ms // 1000), nanosec=round(ms % 1000 * 1e6))


def at_ms(message: Any) -> float:
    """The stamp of a message in milliseconds."""
    return message.header.stamp.sec * 1e3 + message.header.stamp.nanosec / 1e6


def image_message(
    pixels: np.ndarray, encoding: str = "mono8", ms: float = 0.0, frame_id: str = "cam", padding: int = 0
) -> Image:
    """An image message whose rows are padded by so many bytes of 0xEE."""
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(pixels.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xEE)
    return Image(
        header=Header(stamp=stamp(ms), frame_id=frame_id),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        step=rows.shape[1],
        data=array.array("B", rows.tobytes()),
    )


def pixels_of(message: Image) -> np.ndarray:
    """The pixels of a message without row padding, by the test's own reading."""
    dtype = np.uint16 if message.encoding == "mono16" else np.uint8
    rows = np.frombuffer(bytes(message.data), np.uint8).reshape(message.height, message.step)
    channels = 3 if message.encoding in ("rgb8", "bgr8") else 1
    used = np.ascontiguousarray(rows[:, : message.width * channels * np.dtype(dtype).itemsize]).view(dtype)
    return used.reshape((message.height, message.width, 3) if channels == 3 else (message.height, message.width))


class Spinning:
    """A node spun in a thread of its own."""

    def __init__(self, node: Any, context: Any) -> None:
        self.node = node
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(node)
        self.errors: list[Exception] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self) -> None:
        while not self._stopping:
            try:
                self._executor.spin_once(timeout_sec=0.02)
            except Exception as error:
                self.errors.append(error)

    def stop(self) -> None:
        """End the thread, then destroy the node."""
        self._stopping = True
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()


class Bench:
    """One DerainNode and a node around it that sends images and keeps what comes back, by topic.

    `arguments` are those behind --ros-args. Without `outputs` only /diagnostics is subscribed to.
    """

    def __init__(
        self,
        context: Any,
        models: Path,
        parameters: dict[str, Any],
        reliable: bool = True,
        arguments: tuple[str, ...] = (),
        outputs: bool = True,
    ) -> None:
        parameters = {
            "models": str(models),
            "engine": "onnxruntime",
            "budget_ms": 10000.0,
            "on_hold_s": 0.0,
            "off_hold_s": 0.0,
        } | parameters
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.derain = DerainNode(context=context, parameter_overrides=overrides, cli_args=["--ros-args", *arguments])
        config = self.derain._config
        self.cameras = list(config.cameras)
        self.got: dict[str, list[Any]] = {}
        self.node = rclpy.create_node("bench", context=context)
        self._inputs: list[Any] = []
        kind, suffix = (CompressedImage, "/compressed") if config.transport == "compressed" else (Image, "")
        self.images = {
            c: self._publisher(kind, f"{c}/image_raw{suffix}") for c in self.cameras + ["thermal"] * config.thermal
        }
        self.infos = {c: self._publisher(CameraInfo, f"{c}/camera_info") for c in self.cameras}
        self._qos = RELIABLE if reliable else BEST_EFFORT
        self._outputs: list[Any] = []
        self._subscribe(DiagnosticArray, "/diagnostics", RELIABLE)
        if outputs:
            self.take_outputs()
        self._spinning = [Spinning(self.node, context), Spinning(self.derain, context)]

    def _publisher(self, kind: Any, topic: str) -> Any:
        publisher = self.node.create_publisher(kind, topic, RELIABLE)
        self._inputs.append(publisher)
        return publisher

    def _subscribe(self, kind: Any, topic: str, qos: QoSProfile) -> Any:
        self.got.setdefault(topic, [])
        return self.node.create_subscription(kind, topic, self.got[topic].append, qos)

    def take_outputs(self) -> None:
        """Subscribe to all outputs."""
        for camera in self.cameras:
            self._outputs += [
                self._subscribe(kind, f"derained/{camera}/{name}", self._qos)
                for kind, name in ((Image, "image_raw"), (CameraInfo, "camera_info"), (Image, "anomaly_mask"))
            ]
        self._outputs += [
            self._subscribe(DiagnosticArray, "/derain/status", RELIABLE),
            self._subscribe(Bool, "/derain/anomaly", LATCHED),
        ]

    def leave_outputs(self) -> None:
        """Take the subscriptions to all outputs down."""
        while self._outputs:
            self.node.destroy_subscription(self._outputs.pop())

    def ready(self, engine: str = "ready", *sizes: tuple[int, ...]) -> Bench:
        """Wait until everything is matched and the models are loaded, restorers for images of these sizes too."""
        counts = [publisher.get_subscription_count for publisher in self._inputs]
        counts += [subscription.get_publisher_count for subscription in self._outputs]
        wait_for(lambda: all(count() == 1 for count in counts), "matched topics")
        wait_for(lambda: self.derain.engine.startswith(engine), f"engine {engine}")
        if engine == "ready":
            self.warm_up(*sizes or ((24, 36), (24, 36, 3)))
        return self

    def warm_up(self, *sizes: tuple[int, ...]) -> None:
        """Have restorers loaded for images of these sizes, as the first frames of a stream do."""
        assert self.derain._worker is not None
        pipeline = self.derain._worker._pipeline
        for size in sizes:
            frame = Frame(np.zeros(size, np.uint8), "rgb8" if size[2:] else "mono8")
            pipeline.process(FrameSet(dict.fromkeys(self.cameras, frame)))
            wait_for(lambda: pipeline._loader is not None and not pipeline._loader.busy, "restorers")

    @property
    def derain_errors(self) -> list[Exception]:
        """What callbacks of the node raised."""
        return self._spinning[1].errors

    def call(self, kind: Any, name: str, **fields: Any) -> Any:
        """The response of a service of the node to a request with these fields."""
        client = self.node.create_client(kind, f"/derain/{name}")
        wait_for(client.service_is_ready, name)
        future = client.call_async(kind.Request(**fields))
        wait_for(future.done, f"the response of {name}")
        return future.result()

    def send(self, camera: str, message: Any) -> None:
        """Publish an image and wait until the node has taken it, as a depth of one keeps no second."""
        before = self.received(camera)
        self.images[camera].publish(message)
        wait_for(lambda: self.received(camera) > before, f"{camera} received")

    def send_pair(self, ms: float, *pixels: np.ndarray, encoding: str = "mono8", padding: int = 0) -> None:
        """Publish one image for each camera, of this stamp."""
        for camera, image in zip(self.cameras, pixels, strict=True):
            self.send(camera, image_message(image, encoding, ms, f"{camera}_optical", padding))

    def received(self, camera: str) -> int:
        """How many images of a camera the node has taken."""
        return self.derain.statistics.counts(camera)["received"]

    def counts(self, camera: str) -> dict[str, int]:
        """The node's counts of a camera."""
        return self.derain.statistics.counts(camera)

    def restored(self, camera: str) -> list[Image]:
        """The images that came back of a camera."""
        return self.got[f"derained/{camera}/image_raw"]

    def masks(self, camera: str) -> list[Image]:
        """The masks that came back of a camera."""
        return self.got[f"derained/{camera}/anomaly_mask"]

    def camera_infos(self, camera: str) -> list[CameraInfo]:
        """The camera_info messages that came back of a camera."""
        return self.got[f"derained/{camera}/camera_info"]

    def wait_images(self, camera: str, number: int) -> list[Image]:
        """The images of a camera once so many came back."""
        return wait_for(
            lambda: len(self.restored(camera)) >= number and self.restored(camera), f"{number} images of {camera}"
        )

    def wait_status(self, ms: float) -> dict[str, tuple[DiagnosticStatus, dict[str, str]]]:
        """By camera, the status of the frame set of this stamp, with its values."""
        found = wait_for(lambda: [s for s in self.got["/derain/status"] if at_ms(s) == ms], f"the status of {ms} ms")
        return {s.name: (s, {v.key: v.value for v in s.values}) for s in found[0].status}

    def wait_diagnostics(
        self, condition: Callable[[dict[str, dict[str, str]]], bool], what: str
    ) -> dict[str, tuple[DiagnosticStatus, dict[str, str]]]:
        """By name, the statuses of the first /diagnostics whose values satisfy `condition`."""

        def satisfied() -> Any:
            for message in self.got["/diagnostics"]:
                statuses = {s.name: (s, {v.key: v.value for v in s.values}) for s in message.status}
                if condition({name: values for name, (_, values) in statuses.items()}):
                    return statuses
            return None

        return wait_for(satisfied, what)

    def close(self) -> None:
        """Destroy both nodes."""
        for spinning in reversed(self._spinning):
            spinning.stop()
