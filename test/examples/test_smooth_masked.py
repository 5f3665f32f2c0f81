"""The example that blurs what is under the mask, beside the real node, over DDS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

from live_example import message_at, send_until_restored  # noqa: E402
from masked_features import QOS  # noqa: E402
from ros_bench import pixels_of, wait_for  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402
from smooth_masked import MARGIN, SmoothMasked, smooth  # noqa: E402
from tiny_models import BRIGHTER_BY, MASKED_ABOVE  # noqa: E402

RNG = np.random.default_rng(12)
NOISE = RNG.integers(0, 256, (160, 240), np.uint8)
MASK = cv2.circle(cv2.circle(np.zeros_like(NOISE), (70, 80), 35, 255, -1), (180, 60), 12, 255, -1)
MIN_TH_FAST = 7
"""The lowest threshold that ORB-SLAM3's settings give to its corner detector."""


def corners_under(image: np.ndarray, mask: np.ndarray) -> int:
    points = cv2.KeyPoint_convert(cv2.FastFeatureDetector_create(MIN_TH_FAST).detect(image))
    x, y = np.rint(points).astype(int).T
    return int((mask[y, x] > 0).sum())


def test_no_corner_is_left_under_the_mask_and_the_rest_is_untouched() -> None:
    smoothed = smooth(NOISE, MASK)
    assert corners_under(NOISE, MASK) > 100
    assert corners_under(smoothed, MASK) == 0
    far = cv2.dilate(MASK, np.ones((4 * MARGIN + 1,) * 2, np.uint8)) == 0
    assert far.any() and np.array_equal(smoothed[far], NOISE[far])
    assert smooth(NOISE, np.zeros_like(MASK)) is NOISE


def test_colour_is_smoothed_as_each_of_its_channels_is() -> None:
    colour = RNG.integers(0, 256, (*NOISE.shape, 3), np.uint8)
    expected = np.dstack([smooth(np.ascontiguousarray(colour[..., k]), MASK) for k in range(3)])
    assert np.array_equal(smooth(colour, MASK), expected)


@pytest.mark.parametrize("encoding", ["mono8", "rgb8"])
def test_both_eyes_go_on_beside_the_node(start: Callable[..., Any], encoding: str) -> None:
    bench = start(SmoothMasked)
    got: dict[str, list[Any]] = {}
    subscriptions = []
    for camera in bench.cameras:
        for kind, name in ((Image, "image_raw"), (CameraInfo, "camera_info")):
            topic = f"masked/{camera}/{name}"
            got[topic] = []
            subscriptions.append(bench.node.create_subscription(kind, topic, got[topic].append, QOS))
    bench.ready()
    wait_for(lambda: all(s.get_publisher_count() for s in subscriptions), "the example's publishers")
    topics = [f"derained/{c}/{name}" for c in bench.cameras for name in ("image_raw", "camera_info", "anomaly_mask")]
    wait_for(lambda: all(bench.derain.count_subscribers(topic) == 2 for topic in topics), "the example's subscriptions")

    wet = NOISE // 3 + 110
    wet[MASK > 0] = np.minimum(MASKED_ABOVE + 1, 255) + NOISE[MASK > 0] % 40
    dry = NOISE // 3 + 20
    pixels = [np.dstack([image] * 3) if encoding == "rgb8" else image for image in (wet, dry)]
    for camera in bench.cameras:
        bench.infos[camera].publish(CameraInfo(height=160, width=240))
    at = send_until_restored(bench, *pixels, encoding=encoding, padding=4)
    for camera, image in zip(bench.cameras, pixels, strict=True):
        message, restored, mask = (
            message_at(messages, at, f"a message of {camera}")
            for messages in (got[f"masked/{camera}/image_raw"], bench.restored(camera), bench.masks(camera))
        )
        assert (message.header, message.encoding) == (restored.header, encoding)
        assert wait_for(lambda c=camera: got[f"masked/{c}/camera_info"], "camera_info")[0].width == 240
        if camera == "right":
            # Nothing under its mask: the restored image as it is.
            assert np.array_equal(pixels_of(message), image + BRIGHTER_BY)
        else:
            seen = pixels_of(message)
            assert np.array_equal(seen, smooth(pixels_of(restored), pixels_of(mask)))
            assert corners_under(seen if seen.ndim == 2 else np.ascontiguousarray(seen[..., 0]), MASK) == 0
