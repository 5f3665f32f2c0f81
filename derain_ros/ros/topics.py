"""What the node publishes, for each camera and for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.event_handler import PublisherEventCallbacks, UnsupportedEventTypeError
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle.publisher import LifecyclePublisher
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image

from derain_ros.frame import CameraResult, Frame
from derain_ros.ros.camera_info import CameraInfos
from derain_ros.ros.messages import write_image
from derain_ros.ros.qos import IMAGE_OUT, INFO_OUT, overridden
from derain_ros.runtime.input.messages import Received


def create_output(node: LifecycleNode, kind: type, name: str, qos: QoSProfile, on_matched: Callable[[Any], None]
                  ) -> LifecyclePublisher:
    """A publisher that calls `on_matched` whenever a subscriber comes or goes, where the middleware tells that.

    ConfigError, or rclpy's ParameterException, where the user's QoS cannot be used.
    """
    wanted = overridden(node, Publisher, node.resolve_topic_name(name), qos)
    try:
        return node.create_lifecycle_publisher(kind, name, wanted, event_callbacks=PublisherEventCallbacks(
            matched=on_matched, use_default_callbacks=False))
    except UnsupportedEventTypeError:
        return node.create_lifecycle_publisher(kind, name, wanted, event_callbacks=PublisherEventCallbacks(
            use_default_callbacks=False))


class CameraTopics:
    """Publishers of one camera, and the camera_info that goes with its images; `publish` may be called in any thread.

    `on_matched` is called whenever a subscriber comes or goes.
    """

    def __init__(self, node: LifecycleNode, camera: str, on_matched: Callable[[Any], None]) -> None:
        self._node = node
        self._infos = CameraInfos()

        def publisher(kind: type, name: str, qos: QoSProfile) -> LifecyclePublisher:
            return create_output(node, kind, f"derained/{camera}/{name}", qos, on_matched)

        self._image = publisher(Image, "image_raw", IMAGE_OUT)
        self._info = publisher(CameraInfo, "camera_info", INFO_OUT)
        self._mask = publisher(Image, "anomaly_mask", IMAGE_OUT)

    @property
    def publishers(self) -> list[LifecyclePublisher]:
        """All publishers of the camera."""
        return [self._image, self._info, self._mask]

    def publish(self, frame: Frame, result: CameraResult) -> None:
        """Publish one frame and its camera_info; a frame that was passed on goes out in the message it came in."""
        message = frame.message if isinstance(frame, Received) and result.frame is frame else None
        self._image.publish(message.cdr if message else write_image(result.frame))
        info = self._infos.beside(frame.stamp_ns)
        if info is not None:
            self._info.publish(info)

    def publish_mask(self, frame: Frame, result: CameraResult) -> None:
        """Publish the mask of one frame, where anybody listens."""
        if self._mask.get_subscription_count():
            self._mask.publish(write_image(Frame(result.mask, "mono8", frame.stamp_ns, frame.frame_id)))

    def destroy(self) -> None:
        """Take the publishers down; the inputs must be closed, and nothing may be published after that."""
        for publisher in self.publishers:
            self._node.destroy_lifecycle_publisher(publisher)

    def take_info(self, info: bytes) -> None:
        """Take in a camera_info message of the camera."""
        owed = self._infos.add(info)
        if owed is not None:
            self._info.publish(owed)
