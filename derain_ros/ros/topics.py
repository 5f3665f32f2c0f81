"""The topics of one camera: what the node subscribes to and what it publishes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from derain_ros.frame import CameraResult, Frame
from derain_ros.ros.camera_info import CameraInfos
from derain_ros.ros.messages import write_image
from derain_ros.ros.receiver import Receiver
from derain_ros.runtime.input.messages import Received

# Best effort takes reliable cameras as well; an older image is of no use, so one is kept.
IMAGE_IN = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
INFO_IN = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.BEST_EFFORT)
# Reliable matches subscribers of both kinds; frames passed on in a burst stay together.
IMAGE_OUT = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.RELIABLE)
INFO_OUT = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.RELIABLE)

# By default rclpy waits for events of each publisher and subscription too, such as a QoS that does not match. That
# takes a third of a millisecond more for each image; who cannot be matched is told so on its own side.
NO_EVENTS_IN = SubscriptionEventCallbacks(use_default_callbacks=False)
NO_EVENTS_OUT = PublisherEventCallbacks(use_default_callbacks=False)

ImageCallback = Callable[[str, bytes, int], None]


class ImageSubscription:
    """A camera's images: `<camera>/image_raw`, or `…/compressed` below it where that is the transport.

    `callback` gets the camera's name, the serialized message, and how many messages the middleware lost since the last
    one.
    """

    def __init__(self, receiver: Receiver, camera: str, transport: str, callback: ImageCallback) -> None:
        self._camera, self._callback = camera, callback
        self._last = 0
        compressed = transport == "compressed"
        self._subscription = receiver.subscribe(
            CompressedImage if compressed else Image, f"{camera}/image_raw{'/compressed' if compressed else ''}",
            self._on_message, IMAGE_IN, event_callbacks=NO_EVENTS_IN, raw=True)

    @property
    def name(self) -> str:
        """The topic's name, with namespace and remappings."""
        return str(self._subscription.topic_name)

    def _on_message(self, message: bytes, info: dict[str, Any]) -> None:
        # None where the middleware does not number messages; numbers of several publishers cannot be told apart.
        number = info["publication_sequence_number"] or 0
        lost = max(0, number - self._last - 1) if self._last and self._subscription.get_publisher_count() == 1 else 0
        self._last = number
        self._callback(self._camera, message, lost)


class CameraTopics:
    """Publishers and subscriptions of one camera; `publish` may be called from another thread than the receiver's."""

    def __init__(self, node: LifecycleNode, receiver: Receiver, camera: str, transport: str,
                 callback: ImageCallback) -> None:
        self._node = node
        self._infos = CameraInfos()

        def publisher(kind: type, name: str, qos: QoSProfile) -> Any:
            return node.create_lifecycle_publisher(kind, f"derained/{camera}/{name}", qos,
                                                   event_callbacks=NO_EVENTS_OUT)

        self._image = publisher(Image, "image_raw", IMAGE_OUT)
        self._info = publisher(CameraInfo, "camera_info", INFO_OUT)
        self._mask = publisher(Image, "anomaly_mask", IMAGE_OUT)
        self.images = ImageSubscription(receiver, camera, transport, callback)
        receiver.subscribe(CameraInfo, f"{camera}/camera_info", self._on_info, INFO_IN, event_callbacks=NO_EVENTS_IN,
                           raw=True)

    @property
    def outputs(self) -> list[str]:
        """The names of the topics it publishes."""
        return [publisher.topic_name for publisher in (self._image, self._info, self._mask)]

    def publish(self, frame: Frame, result: CameraResult) -> None:
        """Publish one frame and its camera_info; a frame that was passed on goes out in the message it came in."""
        message = frame.message if isinstance(frame, Received) and result.frame is frame else None
        self._image.publish(message.cdr if message else write_image(result.frame.image, result.frame.encoding, frame))
        info = self._infos.beside(frame.stamp_ns)
        if info is not None:
            self._info.publish(info)

    def publish_mask(self, frame: Frame, result: CameraResult) -> None:
        """Publish the mask of one frame, where anybody listens."""
        if self._mask.get_subscription_count():
            self._mask.publish(write_image(result.mask, "mono8", frame))

    def destroy(self) -> None:
        """Take the publishers down; the receiver must have stopped, and nothing may be published after that."""
        for publisher in (self._image, self._info, self._mask):
            self._node.destroy_lifecycle_publisher(publisher)

    def _on_info(self, info: bytes, _: dict[str, Any]) -> None:
        owed = self._infos.add(info)
        if owed is not None:
            self._info.publish(owed)
