"""The node's side of fusion: topics of the fused image, and the pose of the thermal camera from camera_info and tf."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle.publisher import LifecyclePublisher
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo

from derain_ros.frame import CameraResult, FrameSet, Result
from derain_ros.ros.inputs import THERMAL
from derain_ros.ros.log import CameraLog
from derain_ros.ros.topics import CameraTopics
from derain_ros.runtime.fusion import Fusion
from derain_ros.runtime.input.geometry import is_rectified

STATIC = QoSProfile(depth=100, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
STAMP_ENDS = 12
"""Where in a serialized camera_info, which begins with its stamp, that ends."""


class FusedTopics:
    """Publishes the images of `camera` fused with the thermal ones, while somebody subscribes to them.

    `topics` are the topics of the images by camera, THERMAL among them: one that ends in image_rect is rectified. A
    wrong or missing parameter of the thermal camera is logged as an error; the node runs on without fusion.
    """

    def __init__(
        self,
        node: LifecycleNode,
        camera: str,
        topics: Mapping[str, str],
        fusion: Fusion,
        on_matched: Callable[[Any], None],
    ) -> None:
        self._node, self._camera, self._fusion = node, camera, fusion
        self._log = CameraLog(node.get_logger())
        self._topics = CameraTopics(node, "fused", on_matched, fused=True)
        self._geometry = fusion.thermal.geometry
        self._rectified = {name: is_rectified(topics[name]) for name in (camera, THERMAL)}
        self._last: dict[str, bytes] = {}
        self._static: Any = None
        fusion.wanted = False
        if self._geometry.fault:
            node.get_logger().error(f"fusion is off: {self._geometry.fault}")
        if self._geometry.needs_transform:
            self._listen()

    @property
    def publishers(self) -> list[LifecyclePublisher]:
        """All publishers."""
        return self._topics.publishers

    def attend(self) -> None:
        """Fuse where somebody subscribes."""
        self._fusion.wanted = self._topics.wanted

    def take_info(self, camera: str, info: bytes) -> None:
        """Take in a serialized camera_info; most are as the one before."""
        if camera == self._camera:
            self._topics.take_info(info)
        role = {self._camera: "left", THERMAL: THERMAL}.get(camera)
        if role and self._geometry.needs_info and self._last.get(role) != info[STAMP_ENDS:]:
            self._last[role] = info[STAMP_ENDS:]
            self._geometry.take_info(role, deserialize_message(info, CameraInfo), self._rectified[camera])

    def publish(self, frames: FrameSet, result: Result) -> None:
        """Publish the fused image of a frame set, where there is one, with its camera_info; called by the worker."""
        if result.fused is None:
            return
        done = result.cameras[self._camera]
        made = CameraResult(result.fused, done.action, done.mask)
        try:
            self._topics.publish(frames.frames[self._camera], made)
            self._topics.publish_rest(frames.frames[self._camera], made)
        except Exception as error:
            self._log.error("fused", f"a fused image could not be published: {error!r}")

    def destroy(self) -> None:
        """Take all down; the inputs must be closed, and nothing may be published after that."""
        self._topics.destroy()
        if self._static is not None:
            self._node.destroy_subscription(self._static)

    def _listen(self) -> None:
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError as error:
            self._node.get_logger().error(f"cannot subscribe to /tf_static ({error}); install tf2_msgs")
            return
        self._static = self._node.create_subscription(TFMessage, "/tf_static", self._take_transforms, STATIC)

    def _take_transforms(self, message: Any) -> None:
        self._geometry.take_transforms(message.transforms)
