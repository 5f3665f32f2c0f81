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


def test_a_truth_and_labels_are_no_cameras() -> None:
    beside = ("/truth/left/image_raw", "/truth/left/labels", "/segmentation/labels")
    assert found("/left/image_raw", *beside) == {"left": "/left/image_raw"}


def test_a_thermal_camera_of_another_form_is_left_out() -> None:
    cameras = choose(bag("/left/image_raw/compressed", "/right/image_raw/compressed", "/thermal/image_raw"))
    assert cameras.thermal == "" and cameras.unused == ["/thermal/image_raw"]
    cameras = choose(bag("/left/image_raw", "/right/image_raw", "/thermal/image_raw/compressed", "/ir/image_raw"))
    assert cameras.thermal == "/ir/image_raw"


def test_left_is_left_however_it_sorts() -> None:
    assert found("/a_right/image_raw", "/z/Left/image_raw", "/z/Right/image_raw") == {
        "left": "/z/Left/image_raw",
        "right": "/z/Right/image_raw",
    }


def test_without_left_and_right_the_order_counts() -> None:
    assert found("/cam1/image_raw", "/cam0/image_raw", "/cam2/image_raw") == {
        "left": "/cam0/image_raw",
        "right": "/cam1/image_raw",
    }
    assert found("/cam/image_raw") == {"left": "/cam/image_raw"}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("/camera/infra1/image_rect_raw", "/camera/infra2/image_rect_raw"),
        ("/cam0/image_raw", "/cam1/image_raw"),
        ("/rig/cam_2/image_raw/compressed", "/rig/cam_3/image_raw/compressed"),
    ],
)
def test_a_pair_that_differs_in_a_digit_is_found_among_others(left: str, right: str) -> None:
    # Raw colour and longer names come first where only the order counts.
    others = ("/camera/color/image_raw", "/another10/image_raw", "/camera/depth/image_rect_raw")
    cameras = choose(bag(right, *others, left))
    assert {camera: topic.name for camera, topic in cameras.images.items()} == {"left": left, "right": right}
    assert cameras.thermal == ""


def test_one_form_of_a_camera_is_taken() -> None:
    names = (
        "/left/image_raw/compressed",
        "/left/image_rect",
        "/left/image_raw",
        "/right/image_raw/compressed",
        "/right/image_raw",
        "/right/image_rect",
    )
    assert found(*names) == {"left": "/left/image_raw", "right": "/right/image_raw"}
    assert choose(bag(*names)).unused == sorted(set(names) - {"/left/image_raw", "/right/image_raw"})
    assert found("/left/image_raw/compressed", "/right/image_raw/compressed") == {
        "left": "/left/image_raw/compressed",
        "right": "/right/image_raw/compressed",
    }


def test_depth_masks_and_thermal_are_no_cameras() -> None:
    assert found(
        "/depth/image_raw", "/a/mask", "/derained/left/image_raw", "/flir/image", "/ir/image", "/front/image_raw"
    ) == {"left": "/front/image_raw"}


def test_named_topics() -> None:
    cameras = choose(bag("/x", "/y", "/z", "/w"), {"front": "/z", "rear": "/x"}, thermal="/w")
    assert {c: t.name for c, t in cameras.images.items()} == {"front": "/z", "rear": "/x"}
    assert (cameras.thermal, cameras.unused) == ("/w", ["/y"])


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ({"left": "/none"}, "/none is not in the bag; image topics there: /left/image_raw"),
        ({"left": "/odom"}, "/odom is of type nav_msgs/msg/Odometry"),
    ],
)
def test_a_named_topic_that_is_no_image_is_refused(named: dict[str, str], says: str) -> None:
    with pytest.raises(ReplayError, match=says):
        choose(bag("/left/image_raw"), named)


def test_no_camera_at_all() -> None:
    with pytest.raises(ReplayError, match="no camera found.*/odom"):
        choose(bag())


@pytest.mark.parametrize(
    "name", ["/flir_camera/image_raw", "/flir_cam0/image_raw", "/flir_blackfly/image_raw", "/camera/left_ir/image_raw"]
)
def test_names_that_only_sound_like_thermal_are_cameras(name: str) -> None:
    cameras = choose(bag(name))
    assert ({c: t.name for c, t in cameras.images.items()}, cameras.thermal) == ({"left": name}, "")


@pytest.mark.parametrize(
    "name",
    [
        "/thermal_camera/image_raw",
        "/flir/image_raw",
        "/flir_boson/image_raw",
        "/ir/image",
        "/camera/ir/image_raw",
        "/thermal/left/image_raw",
        "/left_thermal/image_raw",
    ],
)
def test_thermal_cameras_are_found_by_their_names(name: str) -> None:
    cameras = choose(bag("/front/image_raw", name))
    assert ({c: t.name for c, t in cameras.images.items()}, cameras.thermal) == ({"left": "/front/image_raw"}, name)


def test_the_eyes_of_an_infrared_camera_are_a_pair() -> None:
    left, right = "/camera/left_ir/image_raw", "/camera/right_ir/image_raw"
    cameras = choose(bag("/camera/color/image_raw", "/camera/depth/image_raw", right, left))
    assert {c: t.name for c, t in cameras.images.items()} == {"left": left, "right": right}
    assert (cameras.thermal, cameras.unused) == ("", ["/camera/color/image_raw", "/camera/depth/image_raw"])


@pytest.mark.parametrize("name", ["/thermal/image_raw", "/ir/image_raw/compressed", "/flir/image", "/depth/image_raw"])
def test_what_is_named_for_a_camera_is_nothing_else(name: str) -> None:
    # Nor is another form of its image.
    other = name.removesuffix("/compressed") if name.endswith("compressed") else name + "/compressed"
    cameras = choose(bag(name, other), {"left": name})
    assert ({c: t.name for c, t in cameras.images.items()}, cameras.thermal) == ({"left": name}, "")


def test_what_is_named_as_thermal_is_no_camera() -> None:
    cameras = choose(
        bag("/left/image_raw", "/left/image_raw/compressed", "/right/image_raw", "/ir/image_raw"),
        thermal="/left/image_raw",
    )
    assert {c: t.name for c, t in cameras.images.items()} == {"left": "/right/image_raw"}
    assert cameras.thermal == "/left/image_raw"


def test_none_can_be_said() -> None:
    topics = bag("/left/image_raw", "/right/image_raw", "/thermal/image_raw")

    def chosen(named: dict[str, str], thermal: str = "") -> tuple[dict[str, str], str, list[str]]:
        cameras = choose(topics, named, thermal)
        return {c: t.name for c, t in cameras.images.items()}, cameras.thermal, cameras.unused

    left, right = {"left": "/left/image_raw"}, {"right": "/right/image_raw"}
    assert chosen({}, "none") == (left | right, "", ["/thermal/image_raw"])
    assert chosen({"right": "none"}) == (left, "/thermal/image_raw", ["/right/image_raw"])
    assert chosen({"left": "none"}, "none") == (right, "", ["/left/image_raw", "/thermal/image_raw"])
    assert chosen({"left": "/thermal/image_raw", "right": "none"}) == (
        {"left": "/thermal/image_raw"},
        "",
        ["/left/image_raw", "/right/image_raw"],
    )
    with pytest.raises(ReplayError, match="no camera found"):
        chosen({"left": "none", "right": "none"})


def test_a_topic_has_one_role() -> None:
    topics = bag("/left/image_raw", "/right/image_raw")
    with pytest.raises(ReplayError, match="/left/image_raw is named for more than one camera"):
        choose(topics, {"left": "/left/image_raw", "right": "/left/image_raw"})
    with pytest.raises(ReplayError, match="/left/image_raw is named for more than one camera"):
        choose(topics, {"left": "/left/image_raw"}, "/left/image_raw")


def test_a_named_topic_without_messages_is_told() -> None:
    topics = bag("/left/image_raw") | {"/right/image_raw": Topic("/right/image_raw", IMAGE, 0)}
    with pytest.raises(ReplayError, match="/right/image_raw has no messages; image topics there: /left/image_raw"):
        choose(topics, {"right": "/right/image_raw"})


@pytest.mark.parametrize(
    ("image", "info"),
    [
        ("/image_raw", "/camera_info"),
        ("/image_raw/compressed", "/camera_info"),
        ("/image", "/camera_info"),
        ("/cam/image_rect_color", "/cam/camera_info"),
        ("/rig/front", "/rig/camera_info"),
        ("/rig/front", "/rig/front/camera_info"),
        ("/front", "/camera_info"),
    ],
)
def test_camera_info_is_found_beside_the_image(image: str, info: str) -> None:
    assert choose(bag(image, info)).info == {"left": info}


def test_camera_info_in_the_namespace_comes_before_that_beside() -> None:
    assert choose(bag("/rig/front", "/rig/camera_info", "/rig/front/camera_info")).info == {
        "left": "/rig/front/camera_info"
    }


def test_camera_info_of_two_cameras_is_of_neither() -> None:
    cameras = choose(bag("/stereo/image_left", "/stereo/image_right", "/stereo/camera_info"))
    assert ({c: t.name for c, t in cameras.images.items()}, cameras.info) == (
        {"left": "/stereo/image_left", "right": "/stereo/image_right"},
        {},
    )


def test_cameras_in_one_namespace() -> None:
    assert found("/image_0", "/image_1") == {"left": "/image_0", "right": "/image_1"}
    assert found("/rig/image_left/compressed", "/rig/image_right/compressed") == {
        "left": "/rig/image_left/compressed",
        "right": "/rig/image_right/compressed",
    }
    assert found("/image_raw", "/image_rect", "/image_raw/compressed") == {"left": "/image_raw"}
