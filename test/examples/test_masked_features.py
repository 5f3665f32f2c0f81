"""The subscriber of the examples beside the real node, over DDS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from live_example import message_at, send_until_restored  # noqa: E402
from masked_features import QOS, WAITING, MaskedFeatures, Pairs, find, grey_of, outside  # noqa: E402
from ros_bench import image_message, pixels_of, wait_for  # noqa: E402
from sensor_msgs.msg import PointCloud2  # noqa: E402
from tiny_models import BRIGHTER_BY, MASKED_ABOVE  # noqa: E402

# Squares of many sizes have corners everywhere. The models take the image for wet, and mask its bright patch.
RNG = np.random.default_rng(11)
SCENE = np.full((240, 320), 110, np.uint8)
for _ in range(300):
    y, x, size = (int(n) for n in RNG.integers((0, 0, 6), (240, 320, 30)))
    SCENE[y : y + size, x : x + size] = RNG.integers(60, 180)
PATCH = (slice(60, 150), slice(100, 210))
WET = SCENE.copy()
WET[PATCH] = MASKED_ABOVE + 1 + WET[PATCH] // 6


def under(points: np.ndarray, mask: np.ndarray) -> np.ndarray:
    x, y = np.rint(points).astype(int).T
    return mask[y, x] > 0


def features_of(cloud: PointCloud2) -> np.ndarray:
    assert [(f.name, f.offset, f.datatype) for f in cloud.fields] == [("u", 0, 7), ("v", 4, 7)]
    return np.frombuffer(bytes(cloud.data), np.float32).reshape(-1, 2)


def test_no_feature_is_kept_under_the_mask(start: Callable[..., Any]) -> None:
    bench = start(MaskedFeatures)
    clouds: list[PointCloud2] = []
    subscription = bench.node.create_subscription(PointCloud2, "masked_features/features", clouds.append, QOS)
    bench.ready()
    wait_for(lambda: subscription.get_publisher_count(), "the features' publisher")
    topics = [f"derained/left/{name}" for name in ("image_raw", "anomaly_mask")]
    wait_for(lambda: all(bench.derain.count_subscribers(topic) == 2 for topic in topics), "the example's subscriptions")

    restored = send_until_restored(bench, WET, SCENE)
    cloud = message_at(clouds, restored, "features")
    image = pixels_of(message_at(bench.restored("left"), restored, "an image"))
    mask = pixels_of(message_at(bench.masks("left"), restored, "a mask"))
    assert np.array_equal(image, np.minimum(WET.astype(int) + BRIGHTER_BY, 255)) and mask[PATCH].all()
    without_mask, kept = find(image), features_of(cloud)
    assert under(without_mask, mask).sum() > 10
    assert 10 < len(kept) < len(without_mask)
    assert not under(kept, mask).any()
    assert {tuple(point) for point in kept} <= {tuple(point) for point in without_mask}


def test_the_patch_of_a_feature_counts_not_only_its_centre() -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[50, 50] = 255
    points = np.array([[50, 50], [65, 50], [66, 50], [50, 34.4], [50, 34.6], [10, 10]], np.float32)
    assert outside(points, mask).tolist() == [[66, 50], [50, np.float32(34.4)], [10, 10]]


@pytest.mark.parametrize("first", ["image", "mask"])
def test_image_and_mask_meet_by_stamp_in_either_order(first: str) -> None:
    pairs, messages = Pairs(), {}
    for kind, value in (("image", 1), ("mask", 2)):
        messages[kind] = [image_message(np.full((2, 2), value, np.uint8), ms=ms) for ms in (10, 20)]
    second = "mask" if first == "image" else "image"
    assert pairs.add(first, messages[first][0]) is None and pairs.add(first, messages[first][1]) is None
    assert pairs.add(second, messages[second][1]) == (messages["image"][1], messages["mask"][1])
    assert pairs.add(second, messages[second][0]) == (messages["image"][0], messages["mask"][0])


def test_an_image_without_a_mask_is_forgotten_in_time() -> None:
    pairs = Pairs()
    for ms in range(WAITING + 1):
        assert pairs.add("image", image_message(SCENE, ms=ms)) is None
    assert pairs.add("mask", image_message(SCENE, ms=0)) is None
    assert pairs.add("mask", image_message(SCENE, ms=2)) is not None


def test_colour_and_padded_rows_are_read() -> None:
    colour = RNG.integers(0, 256, (6, 7, 3), np.uint8)
    weights = np.array([0.299, 0.587, 0.114])
    for encoding, expected in (("rgb8", colour @ weights), ("bgr8", colour[..., ::-1] @ weights)):
        assert np.abs(grey_of(image_message(colour, encoding, padding=5)) - expected).max() < 1
    assert np.array_equal(grey_of(image_message(colour[..., 0], "mono8", padding=5)), colour[..., 0])
    with pytest.raises(ValueError, match="bayer_rggb8"):
        grey_of(image_message(colour[..., 0], "bayer_rggb8"))
