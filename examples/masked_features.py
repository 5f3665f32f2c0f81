"""Finds ORB features in a restored image and leaves out those under its mask.

    python3 masked_features.py --ros-args -r __ns:=/camera

For the right camera, remap both topics: -r derained/left/image_raw:=derained/right/image_raw and likewise the mask.
The features that are kept go out in ~/features, a point cloud of pixel coordinates with the header of the image.
"""

from __future__ import annotations

import sys
from functools import partial

import cv2
import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2, PointField

# The node publishes reliably; a mask that is lost would cost its image. Five frames are kept, as the node keeps.
QOS = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.RELIABLE)
PATCH = 31
"""Size of the square of pixels that describes an ORB feature."""
WAITING = 10


class Pairs:
    """Puts together the image and the mask of equal stamps, whichever comes first."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, int], dict[str, Image]] = {}

    def add(self, kind: str, message: Image) -> tuple[Image, Image] | None:
        """Take an "image" or a "mask" in; returns image and mask once both are there, None until then."""
        stamp = message.header.stamp.sec, message.header.stamp.nanosec
        pair = self._waiting.setdefault(stamp, {})
        pair[kind] = message
        if len(pair) == 2:
            del self._waiting[stamp]
            return pair["image"], pair["mask"]
        if len(self._waiting) > WAITING:
            del self._waiting[next(iter(self._waiting))]
        return None


def grey_of(message: Image) -> np.ndarray:
    """The image as (H, W) uint8; without a copy where it is grey already. ValueError for encodings not named here."""
    if message.encoding in ("mono8", "8UC1"):
        return np.ndarray((message.height, message.width), np.uint8, message.data, 0, (message.step, 1))
    if message.encoding in ("rgb8", "bgr8"):
        colour = np.ndarray((message.height, message.width, 3), np.uint8, message.data, 0, (message.step, 3, 1))
        return cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY if message.encoding == "rgb8" else cv2.COLOR_BGR2GRAY)
    raise ValueError(f"images of encoding {message.encoding} are not read here: mono8, rgb8 and bgr8 are")


def find(image: np.ndarray) -> np.ndarray:
    """(N, 2) float32: x and y in pixels of the features of a grey image."""
    points = cv2.KeyPoint.convert(cv2.ORB.create(nfeatures=1000, patchSize=PATCH).detect(image))
    return np.asarray(points, np.float32).reshape(-1, 2)


def outside(points: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Those of the (N, 2) points whose patch has no pixel where the (H, W) mask is not 0."""
    near = cv2.dilate(mask, np.ones((PATCH, PATCH), np.uint8))
    x, y = np.rint(points).astype(int).T
    return points[near[y, x] == 0]


class MaskedFeatures(Node):
    """Publishes the features of each image that were seen, not made up."""

    def __init__(self, **arguments: object) -> None:
        super().__init__("masked_features", **arguments)  # type: ignore[arg-type]
        self._pairs = Pairs()
        self._features = self.create_publisher(PointCloud2, "~/features", QOS)
        for kind, topic in (("image", "derained/left/image_raw"), ("mask", "derained/left/anomaly_mask")):
            self.create_subscription(Image, topic, partial(self._on_message, kind), QOS)

    def _on_message(self, kind: str, message: Image) -> None:
        pair = self._pairs.add(kind, message)
        if pair is None:
            return
        try:
            found = find(grey_of(pair[0]))
        except ValueError as error:
            self.get_logger().error(str(error), throttle_duration_sec=5.0)
            return
        kept = outside(found, grey_of(pair[1]))
        self.get_logger().info(f"{len(kept)} of {len(found)} features kept", throttle_duration_sec=1.0)
        fields = [
            PointField(name=name, offset=4 * k, datatype=PointField.FLOAT32, count=1)
            for k, name in enumerate(("u", "v"))
        ]
        self._features.publish(
            PointCloud2(
                header=pair[0].header,
                height=1,
                width=len(kept),
                fields=fields,
                point_step=8,
                row_step=8 * len(kept),
                data=kept.tobytes(),
                is_dense=True,
                is_bigendian=sys.byteorder == "big",
            )
        )


def main() -> None:
    """Run the node until it is interrupted."""
    rclpy.init()
    try:
        rclpy.spin(MaskedFeatures())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
