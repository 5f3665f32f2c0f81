"""Which topics are taken for the cameras."""

from __future__ import annotations

import pytest

from derain_ros.replay.records import ReplayError, Topic
from derain_ros.replay.topics import COMPRESSED, IMAGE, INFO, choose


def bag(*names: str) -> dict[str, Topic]:
    def kind(name: str) -> str:
        return INFO if name.endswith("info") else COMPRESSED if name.endswith("compressed") else IMAGE
    return {name: Topic(name, kind(name), 5) for name in names} | {"/odom": Topic("/odom", "nav_msgs/msg/Odometry", 9)}


def found(*names: str) -> dict[str, str]:
    return {camera: topic.name for camera, topic in choose(bag(*names)).images.items()}


def test_left_and_right_are_found() -> None:
    cameras = choose(bag("/s/right/image_raw", "/s/left/image_raw", "/s/left/camera_info", "/thermal/image_raw"))
    names = {camera: topic.name for camera, topic in cameras.images.items()}
    assert names == {"left": "/s/left/image_raw", "right": "/s/right/image_raw"}
    assert cameras.info == {"left": "/s/left/camera_info"}
    assert cameras.thermal == "/thermal/image_raw"
    assert cameras.unused == []


def test_a_thermal_camera_of_another_form_is_left_out() -> None:
    cameras = choose(bag("/left/image_raw/compressed", "/right/image_raw/compressed", "/thermal/image_raw"))
    assert cameras.thermal == "" and cameras.unused == ["/thermal/image_raw"]
    cameras = choose(bag("/left/image_raw", "/right/image_raw", "/thermal/image_raw/compressed", "/ir/image_raw"))
    assert cameras.thermal == "/ir/image_raw"


def test_left_is_left_however_it_sorts() -> None:
    assert found("/a_right/image_raw", "/z/Left/image_raw", "/z/Right/image_raw") == {
        "left": "/z/Left/image_raw", "right": "/z/Right/image_raw"}


def test_without_left_and_right_the_order_counts() -> None:
    assert found("/cam1/image_raw", "/cam0/image_raw", "/cam2/image_raw") == {
        "left": "/cam0/image_raw", "right": "/cam1/image_raw"}
    assert found("/cam/image_raw") == {"left": "/cam/image_raw"}


@pytest.mark.parametrize(("left", "right"), [
    ("/camera/infra1/image_rect_raw", "/camera/infra2/image_rect_raw"), ("/cam0/image_raw", "/cam1/image_raw"),
    ("/rig/cam_2/image_raw/compressed", "/rig/cam_3/image_raw/compressed")])
def test_a_pair_that_differs_in_a_digit_is_found_among_others(left: str, right: str) -> None:
    # Raw colour and longer names come first where only the order counts.
    others = ("/camera/color/image_raw", "/another10/image_raw", "/camera/depth/image_rect_raw")
    cameras = choose(bag(right, *others, left))
    assert {camera: topic.name for camera, topic in cameras.images.items()} == {"left": left, "right": right}
    assert cameras.thermal == ""


def test_one_form_of_a_camera_is_taken() -> None:
    names = ("/left/image_raw/compressed", "/left/image_rect", "/left/image_raw", "/right/image_raw/compressed",
             "/right/image_raw", "/right/image_rect")
    assert found(*names) == {"left": "/left/image_raw", "right": "/right/image_raw"}
    assert choose(bag(*names)).unused == sorted(set(names) - {"/left/image_raw", "/right/image_raw"})
    assert found("/left/image_raw/compressed", "/right/image_raw/compressed") == {
        "left": "/left/image_raw/compressed", "right": "/right/image_raw/compressed"}


def test_depth_masks_and_thermal_are_no_cameras() -> None:
    assert found("/depth/image_raw", "/a/mask", "/derained/left/image_raw", "/flir/image", "/ir/image",
                 "/front/image_raw") == {"left": "/front/image_raw"}


def test_named_topics() -> None:
    cameras = choose(bag("/x", "/y", "/z", "/w"), {"front": "/z", "rear": "/x"}, thermal="/w")
    assert {c: t.name for c, t in cameras.images.items()} == {"front": "/z", "rear": "/x"}
    assert (cameras.thermal, cameras.unused) == ("/w", ["/y"])


@pytest.mark.parametrize(("named", "says"), [
    ({"left": "/none"}, "/none is not in the bag; image topics there: /left/image_raw"),
    ({"left": "/odom"}, "/odom is of type nav_msgs/msg/Odometry"),
])
def test_a_named_topic_that_is_no_image_is_refused(named: dict[str, str], says: str) -> None:
    with pytest.raises(ReplayError, match=says):
        choose(bag("/left/image_raw"), named)


def test_no_camera_at_all() -> None:
    with pytest.raises(ReplayError, match="no camera found.*/odom"):
        choose(bag())
