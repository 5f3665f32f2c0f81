"""Takes the features out of what is under the mask, for a consumer that cannot be given a mask.

    python3 smooth_masked.py --ros-args -r __ns:=/camera

Publishes masked/<camera>/image_raw and camera_info for the cameras left and right: the restored image, blurred where
its mask is set, with a soft edge, so that no corner detector finds anything there. Stamp, frame id, size and encoding
stay. An image whose mask does not come is not published.
"""

from __future__ import annotations

import array
from functools import partial

import cv2
import numpy as np
import rclpy
from masked_features import QOS, Pairs, grey_of
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

MARGIN = 12
"""Width of the soft edge around the mask, in pixels."""
COARSE = 16
"""The blur is made of averages of this many pixels, squared."""


def smooth(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A copy of the (H, W) or (H, W, 3) uint8 image, blurred where the (H, W) mask is 255 and MARGIN pixels around."""
    if not mask.any():
        return image
    height, width = mask.shape
    coarse = cv2.resize(image, (max(1, width // COARSE), max(1, height // COARSE)), interpolation=cv2.INTER_AREA)
    blurred = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    wide = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * MARGIN + 1,) * 2))
    # Three standard deviations fit into the margin: under the mask itself the blur has all the weight.
    weight = cv2.GaussianBlur(wide, (0, 0), MARGIN / 3).astype(np.float32) / 255
    if image.ndim == 3:
        weight = weight[..., None]
    return np.rint(image + weight * (blurred.astype(np.float32) - image)).astype(np.uint8)


class SmoothMasked(Node):
    """Publishes the images of both cameras with nothing to hold on to under the mask."""

    def __init__(self, **arguments: object) -> None:
        super().__init__("smooth_masked", **arguments)  # type: ignore[arg-type]
        self._pairs, self._images = {}, {}
        for camera in ("left", "right"):
            self._pairs[camera] = Pairs()
            self._images[camera] = self.create_publisher(Image, f"masked/{camera}/image_raw", QOS)
            infos = self.create_publisher(CameraInfo, f"masked/{camera}/camera_info", QOS)
            self.create_subscription(CameraInfo, f"derained/{camera}/camera_info", infos.publish, QOS)
            for kind, name in (("image", "image_raw"), ("mask", "anomaly_mask")):
                self.create_subscription(
                    Image, f"derained/{camera}/{name}", partial(self._on_message, camera, kind), QOS
                )

    def _on_message(self, camera: str, kind: str, message: Image) -> None:
        pair = self._pairs[camera].add(kind, message)
        if pair is None:
            return
        image, mask = pair[0], grey_of(pair[1])
        channels = {"mono8": 1, "8UC1": 1, "rgb8": 3, "bgr8": 3}.get(image.encoding)
        if channels is None:
            self.get_logger().error(
                f"{camera}: images of encoding {image.encoding} are passed on as they are", throttle_duration_sec=5.0
            )
        elif mask.any():
            rows = np.ndarray((image.height, image.step), np.uint8, image.data)[:, : image.width * channels]
            pixels = rows if channels == 1 else rows.reshape(image.height, image.width, channels)
            image.step = image.width * channels
            image.data = array.array("B", smooth(pixels, mask).tobytes())
        self._images[camera].publish(image)


def main() -> None:
    """Run the node until it is interrupted."""
    rclpy.init()
    try:
        rclpy.spin(SmoothMasked())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
