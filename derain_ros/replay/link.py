"""Publishes a bag's images and subscribes to the node's outputs, as serialized messages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Bool

from derain_ros.ros.memory import tune_malloc

TYPES = {
    "sensor_msgs/msg/Image": Image,
    "sensor_msgs/msg/CompressedImage": CompressedImage,
    "sensor_msgs/msg/CameraInfo": CameraInfo,
    "diagnostic_msgs/msg/DiagnosticArray": DiagnosticArray,
    "std_msgs/msg/Bool": Bool,
}
SENT = QoSProfile(depth=4, reliability=QoSReliabilityPolicy.BEST_EFFORT)
RECORDED = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


class Link:
    """The player's connection to DDS while the context is open.

    `inputs` maps topics of the bag to a topic of the node and its type. The link's thread calls `on_output` with topic
    and serialized message of each output; with `fused`, fused images are among them. `name` is the name of its ROS
    node, which must be unique in a process. `engine`, `models` and `counts` (by camera) are the node's latest values
    in /diagnostics, empty before; `reports` counts these messages.
    """

    def __init__(
        self,
        cameras: list[str],
        inputs: Mapping[str, tuple[str, str]],
        fused: bool = False,
        name: str = "derain_player",
    ) -> None:
        tune_malloc()
        self.inputs = inputs
        self.on_output: Callable[[str, bytes], None] | None = None
        self.engine = self.models = ""
        self.counts: dict[str, dict[str, str]] = {}
        self.reports = 0
        self.outputs = {
            "/derain/status": "diagnostic_msgs/msg/DiagnosticArray",
            "/derain/anomaly": "std_msgs/msg/Bool",
            "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
        }
        for camera in cameras:
            self.outputs |= {
                f"/derained/{camera}/image_raw": "sensor_msgs/msg/Image",
                f"/derained/{camera}/anomaly_mask": "sensor_msgs/msg/Image",
                f"/derained/{camera}/camera_info": "sensor_msgs/msg/CameraInfo",
            }
        if fused:
            self.outputs |= {
                "/derained/fused/image_raw": "sensor_msgs/msg/Image",
                "/derained/fused/camera_info": "sensor_msgs/msg/CameraInfo",
            }
        self._types = get_typestore(Stores.ROS2_JAZZY)
        self._context = rclpy.Context()
        # The player handles Ctrl-C, and then ends the node in order.
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node(name, context=self._context)
        self._publishers = {
            name: self._node.create_publisher(TYPES[msgtype], topic, SENT) for name, (topic, msgtype) in inputs.items()
        }
        self._subscriptions = [
            self._node.create_subscription(
                TYPES[msgtype],
                topic,
                partial(self._take, topic),
                LATCHED if topic == "/derain/anomaly" else RECORDED,
                raw=True,
            )
            for topic, msgtype in self.outputs.items()
        ]
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="derain link")
        self._thread.start()

    def matched(self) -> bool:
        """Whether the node subscribes to every input and publishes every output."""
        return all(p.get_subscription_count() for p in self._publishers.values()) and all(
            self._node.count_publishers(topic) for topic in self.outputs
        )

    def send(self, topic: str, data: bytes) -> None:
        """Publish a serialized message; `topic` is that of the bag."""
        self._publishers[topic].publish(data)

    def _take(self, topic: str, data: bytes) -> None:
        if topic == "/diagnostics":
            self._look(data)
        if self.on_output is not None:
            self.on_output(topic, data)

    def _look(self, data: bytes) -> None:
        array: Any = self._types.deserialize_cdr(data, self.outputs["/diagnostics"])
        for status in array.status:
            node, _, camera = status.name.strip("/").partition(": ")
            values = {value.key: value.value for value in status.values}
            if node == "derain" and camera:
                self.counts[camera] = values
            elif node == "derain":
                self.engine, self.models = values["engine"], values["models"]
                self.reports += 1

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            while not self._ending.is_set() and self._context.ok():
                self._executor.spin_once(timeout_sec=0.1)

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Join, shut down, then destroy: a thread that still spins aborts the process, and an executor that is shut
        # down while it waits sometimes fails.
        self._ending.set()
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()
