from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from ros_bench import RELIABLE, wait_for
from std_msgs.msg import Bool

from derain_ros.ros.receiver import Receiver


@pytest.fixture
def node() -> Iterator[LifecycleNode]:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = LifecycleNode("receiving", context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


def thread_alive() -> bool:
    return any(thread.name == "derain receiver" for thread in threading.enumerate())


def test_messages_are_taken_apart_from_the_executor_whatever_one_of_them_does(node: LifecycleNode) -> None:
    took: list[tuple[bool, str, int]] = []

    def take(message: Bool, info: dict[str, Any]) -> None:
        took.append((message.data, threading.current_thread().name, info["publication_sequence_number"]))
        if len(took) == 1:
            raise ValueError("the first one")

    receiver = Receiver(node)
    receiver.subscribe(Bool, "one", take, RELIABLE)
    receiver.subscribe(Bool, "other", take, RELIABLE)
    publishers = [node.create_publisher(Bool, topic, RELIABLE) for topic in ("one", "other")]
    wait_for(lambda: all(publisher.get_subscription_count() for publisher in publishers), "matched topics")
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    publishers[0].publish(Bool(data=True))
    for _ in range(20):
        executor.spin_once(timeout_sec=0.01)
    assert not took
    receiver.start()
    wait_for(lambda: took, "the first message")
    for data in (False, True):
        for publisher in publishers:
            publisher.publish(Bool(data=data))
    wait_for(lambda: len(took) == 5, "five messages")
    assert {name for _, name, _ in took} == {"derain receiver"}
    assert sorted(number for _, _, number in took) == [1, 1, 2, 2, 3]
    receiver.stop()
    assert not thread_alive() and not list(node.subscriptions)
    wait_for(lambda: not any(publisher.get_subscription_count() for publisher in publishers), "nobody to listen")
    executor.shutdown()


def test_it_goes_on_where_waiting_failed(node: LifecycleNode, monkeypatch: pytest.MonkeyPatch) -> None:
    took: list[bool] = []
    failures = [RuntimeError("a wait set"), RuntimeError("that fails")]
    ready = Receiver._ready

    def fail_first(receiver: Receiver, waits: Any) -> list[int]:
        if failures:
            raise failures.pop()
        return ready(receiver, waits)

    monkeypatch.setattr(Receiver, "_ready", fail_first)
    receiver = Receiver(node)
    receiver.subscribe(Bool, "one", lambda message, _: took.append(message.data), RELIABLE)
    publisher = node.create_publisher(Bool, "one", RELIABLE)
    wait_for(publisher.get_subscription_count, "a matched topic")
    receiver.start()
    publisher.publish(Bool(data=True))
    wait_for(lambda: took == [True], "the message")
    receiver.stop()
    assert not failures


def test_it_ends_with_the_context_and_where_it_never_began(node: LifecycleNode) -> None:
    never, receiver = Receiver(node), Receiver(node)
    never.subscribe(Bool, "one", print, RELIABLE)
    never.stop()
    receiver.subscribe(Bool, "one", print, RELIABLE)
    receiver.start()
    assert thread_alive()
    node.context.shutdown()
    wait_for(lambda: not thread_alive(), "the thread's end")
    receiver.stop()
