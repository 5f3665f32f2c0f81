from __future__ import annotations

from rclpy.serialization import serialize_message
from ros_bench import stamp
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from derain_ros.ros.camera_info import CameraInfos

MS = 1_000_000


def info(ms: float) -> bytes:
    return serialize_message(CameraInfo(header=Header(stamp=stamp(ms))))


def test_before_the_first_message_there_is_none() -> None:
    assert CameraInfos().beside(0) is None


def test_an_image_gets_the_message_of_its_stamp() -> None:
    infos, messages = CameraInfos(), [info(ms) for ms in range(3)]
    assert [infos.add(message) for message in messages] == [None] * 3
    assert infos.beside(1 * MS) is messages[1] and infos.beside(1 * MS) is messages[1]


def test_an_image_that_came_first_is_followed_by_its_message() -> None:
    infos = CameraInfos()
    for ms in range(0, 500, 50):
        # None in the meantime: another stamp's message would be wrong.
        assert infos.beside(ms * MS) is None
        message = info(ms)
        assert infos.add(message) is message
        assert infos.add(info(ms)) is None


def test_where_stamps_do_not_agree_the_latest_is_given() -> None:
    infos, only = CameraInfos(), info(7)
    infos.add(only)
    assert [infos.beside(ms * MS) for ms in (100, 150, 200)] == [only] * 3


def test_a_camera_whose_messages_end_gets_its_latest_again() -> None:
    infos, last = CameraInfos(), info(50)
    infos.add(last)
    assert infos.beside(50 * MS) is last
    assert infos.beside(100 * MS) is None
    assert infos.beside(150 * MS) is last


def test_the_messages_do_not_pile_up() -> None:
    infos = CameraInfos()
    for ms in range(1000):
        infos.add(info(ms))
    assert len(infos._by_stamp) < 100 and infos.beside(999 * MS) is not None
