"""Says what each pixel of the restored left image shows: a segmenter behind the node.

    python3 segmentation_node.py --ros-args -r __ns:=/camera

For the right camera, remap both inputs: -r derained/left/image_raw:=derained/right/image_raw and likewise the mask. Any
image can be remapped to the input, also a camera's own.

Published, with stamp and frame id of the image:
    ~/labels   mono8, the class of each pixel, 255 where void_masked is set and the mask is
    ~/overlay  rgb8, the image in the colours of the classes
    ~/classes  std_msgs/String, latched: the names of the classes in the order of their labels, a JSON list

Parameters, read at start:
    model        name of a segmenter in the manifest, segment by default
    models       directory with models.yaml; the shipped one if empty
    engine       openvino or onnxruntime, and what else derain_ros.engine.load knows; the former where it is installed
    void_masked  whether labels under derained/left/anomaly_mask become 255; false by default. It takes back all that
                 restoring won, and an image then waits for its mask. Set it where a wrong label does more harm than
                 none; others read the mask beside the labels, it has the same stamp.
"""

from __future__ import annotations

import array
import json
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import rclpy
from masked_features import Pairs, grey_of
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image
from std_msgs.msg import String

from derain_ros.engine import EngineError, load
from derain_ros.manifest import Manifest, ManifestError
from derain_ros.ros.qos import IMAGE_IN, IMAGE_OUT, LATCHED_OUT
from derain_ros.runtime.input.messages import frame_of
from derain_ros.runtime.labels import VOID, overlay, rgb_of

ENGINE = "openvino" if find_spec("openvino") else "onnxruntime"


class Segmentation(Node):
    """Segments the newest image while somebody wants the result. ManifestError or EngineError where it cannot begin."""

    def __init__(self, **arguments: object) -> None:
        super().__init__("segmentation", **arguments)  # type: ignore[arg-type]
        defaults = {"model": "segment", "models": "", "engine": ENGINE, "void_masked": False}
        given = {name: self.declare_parameter(name, value).value for name, value in defaults.items()}
        manifest = Manifest.load(Path(given["models"]) if given["models"] else None)
        model = manifest.get(given["model"])
        if model.task != "segment":
            raise ManifestError(f"{model.name}: is no segmenter; name a model whose task is segment")
        manifest.verify(model)
        self._engine = load(model, given["engine"])
        self.skipped = 0
        """How many images could not be segmented."""
        self._labels = self.create_publisher(Image, "~/labels", IMAGE_OUT)
        self._overlay = self.create_publisher(Image, "~/overlay", IMAGE_OUT)
        self._classes = self.create_publisher(String, "~/classes", LATCHED_OUT)
        self._classes.publish(String(data=json.dumps(model.classes)))
        # One message waits, the newest: those that come while an image is segmented are dropped.
        if given["void_masked"]:
            self._pairs = Pairs()
            for kind, topic in (("image", "derained/left/image_raw"), ("mask", "derained/left/anomaly_mask")):
                self.create_subscription(Image, topic, partial(self._on_either, kind), IMAGE_IN)
        else:
            self.create_subscription(Image, "derained/left/image_raw", self._on_image, IMAGE_IN)
        self.get_logger().info(f"{model.name} on {self._engine.name} tells {', '.join(model.classes)}")

    def _on_either(self, kind: str, message: Image) -> None:
        pair = self._pairs.add(kind, message)
        if pair is not None:
            self._on_image(*pair)

    def _on_image(self, message: Image, mask: Image | None = None) -> None:
        wanted = [publisher for publisher in (self._labels, self._overlay) if publisher.get_subscription_count()]
        if not wanted:
            return
        try:
            image = rgb_of(frame_of(message))
            labels = self._engine.run(image=image[None])["labels"][0]
            if mask is not None:
                labels = np.where(grey_of(mask) > 0, np.uint8(VOID), labels)
        except Exception as error:  # whatever an image holds, the next one may be good
            self.skipped += 1
            self.get_logger().error(f"{self.skipped} images skipped, the last: {error}", throttle_duration_sec=5.0)
            return
        if self._labels in wanted:
            self._publish(self._labels, message, "mono8", labels)
        if self._overlay in wanted:
            self._publish(self._overlay, message, "rgb8", overlay(image, labels))

    @staticmethod
    def _publish(publisher: Publisher, message: Image, encoding: str, pixels: np.ndarray) -> None:
        """Publish pixels with the header of the image that they were made of."""
        made = Image(header=message.header, height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
        made.step = pixels.nbytes // pixels.shape[0]
        made.data = array.array("B", pixels.tobytes())
        publisher.publish(made)


def main() -> None:
    """Run the node until it is interrupted."""
    rclpy.init()
    try:
        rclpy.spin(Segmentation())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (ManifestError, EngineError) as error:
        sys.exit(f"segmentation: {error}")
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
