"""What the node publishes, for each camera and for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.event_handler import PublisherEventCallbacks, UnsupportedEventTypeError
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle.publisher import LifecyclePublisher
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from derain_ros.frame import CameraResult, Frame
from derain_ros.ros.camera_info import CameraInfos
from derain_ros.ros.compressed import compress
from derain_ros.ros.messages import write_image
from derain_ros.ros.qos import IMAGE_OUT, INFO_OUT, overridden
from derain_ros.runtime.input.messages import Received


def create_output(
    node: LifecycleNode, kind: type, name: str, qos: QoSProfile, on_matched: Callable[[Any], None]
) -> LifecyclePublisher:
    """A publisher that calls `on_matched` whenever a subscriber comes or goes, where the middleware tells that.

    ConfigError, or rclpy's ParameterException, where the user's QoS cannot be used.
    """
    wanted = overridden(node, Publisher, node.resolve_topic_name(name), qos)
    try:
        return node.create_lifecycle_publisher(
            kind, name, wanted, event_callbacks=PublisherEventCallbacks(matched=on_matched, use_default_callbacks=False)
        )
    except UnsupportedEventTypeError:
        return node.create_lifecycle_publisher(
            kind, name, wanted, event_callbacks=PublisherEventCallbacks(use_default_callbacks=False)
        )


class CameraTopics:
    """Publishers of one camera, and the camera_info that goes with its images; `publish` may be called in any thread.

    `on_matched` is called whenever a subscriber comes or goes. What is `fused` has no mask.
    """

    def __init__(
        self, node: LifecycleNode, camera: str, on_matched: Callable[[Any], None], fused: bool = False
    ) -> None:
        self._node = node
        self._infos = CameraInfos()

        def publisher(kind: type, name: str, qos: QoSProfile) -> LifecyclePublisher:
            return create_output(node, kind, name, qos, on_matched)

        self._image = publisher(Image, f"derained/{camera}/image_raw", IMAGE_OUT)
        # As image_transport does, below the name that the image has after remapping.
        self._compressed = publisher(CompressedImage, f"{self._image.topic_name}/compressed", IMAGE_OUT)
        self._info = publisher(CameraInfo, f"derained/{camera}/camera_info", INFO_OUT)
        self._masks = [] if fused else [publisher(Image, f"derained/{camera}/anomaly_mask", IMAGE_OUT)]

    @property
    def publishers(self) -> list[LifecyclePublisher]:
        """All publishers of the camera."""
        return [self._image, self._compressed, self._info, *self._masks]

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to the images."""
        return bool(self._image.get_subscription_count() or self._compressed.get_subscription_count())

    def publish(self, frame: Frame, result: CameraResult) -> None:
        """Publish one frame and its camera_info; a frame that was passed on goes out in the message it came in.

        What came compressed and cannot be read is no image: `publish_rest` passes it on.
        """
        came = _came_in(frame, result)
        if came is None or came.readable or came.message:
            self._image.publish(came.message.cdr if came and came.message else write_image(result.frame))
        info = self._infos.beside(frame.stamp_ns)
        if info is not None:
            self._info.publish(info)

    def publish_rest(self, frame: Frame, result: CameraResult) -> None:
        """Publish the mask of one frame and its compressed image, each where anybody listens; FrameError where the
        image cannot be compressed."""
        for masks in self._masks:
            if masks.get_subscription_count() and result.mask.size:
                masks.publish(write_image(Frame(result.mask, "mono8", frame.stamp_ns, frame.frame_id)))
        if self._compressed.get_subscription_count():
            came = _came_in(frame, result)
            if came and came.compressed:
                self._compressed.publish(came.compressed.cdr)
            elif came is None or came.readable:
                self._compressed.publish(compress(result.frame))

    def destroy(self) -> None:
        """Take the publishers down; the inputs must be closed, and nothing may be published after that."""
        for publisher in self.publishers:
            self._node.destroy_lifecycle_publisher(publisher)

    def take_info(self, info: bytes) -> None:
        """Take in a camera_info message of the camera."""
        owed = self._infos.add(info)
        if owed is not None:
            self._info.publish(owed)


def _came_in(frame: Frame, result: CameraResult) -> Received | None:
    """The frame with the message it came in, where it was passed on."""
    return frame if isinstance(frame, Received) and result.frame is frame else None
