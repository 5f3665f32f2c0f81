"""Receives the messages of the cameras in a thread of its own."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.lifecycle import LifecycleNode
from rclpy.subscription import Subscription

from derain_ros.ros.log import CameraLog

CHECKED_NS = 500_000_000
"""Longest time between two checks that the ROS context is still valid."""
AGAIN_S = 0.01
"""Pause after a failed wait."""


class Apart(CallbackGroup):
    """What no executor waits for."""

    def can_execute(self, entity: object) -> bool:
        """Never."""
        return False

    def beginning_execution(self, entity: object) -> bool:
        """Never."""
        return False

    def ending_execution(self, entity: object) -> None:
        """There is nothing to end."""


class Receiver:
    """Calls back for each message of its subscriptions, in its own thread, from `start` to `stop`.

    An executor of rclpy collects all entities of a node, services and timers too, up to twice for each message. That
    takes longer than everything else that happens to an image before the pipeline runs.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._log = CameraLog(node.get_logger())
        self._group = Apart()
        self._subscriptions: list[Subscription] = []
        self._wake = GuardCondition(None, None, context=node.context)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="derain receiver")

    def subscribe(self, *arguments: Any, **more: Any) -> Subscription:
        """Subscribe as the node's `create_subscription` does; before `start`."""
        subscription = self._node.create_subscription(*arguments, callback_group=self._group, **more)
        self._subscriptions.append(subscription)
        return subscription

    def start(self) -> None:
        """Begin to take messages."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more messages, wait for the callback at work, and unsubscribe."""
        self._stopping = True
        self._wake.trigger()
        if self._thread.ident is not None:
            self._thread.join()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._wake.destroy()

    def _run(self) -> None:
        with ExitStack() as used:
            # From Kilted on, the end of the context destroys its nodes: not what is being waited for.
            for handle in (self._node.context.handle, self._wake.handle, *(s.handle for s in self._subscriptions)):
                used.enter_context(handle)
            self._take_all()

    def _take_all(self) -> None:
        """Take messages until it is to stop, or the context ends."""
        context = self._node.context
        waits = _rclpy.WaitSet(len(self._subscriptions), 1, 0, 0, 0, 0, context.handle)
        while not self._stopping and context.ok():
            try:
                ready = self._ready(waits)
            except Exception as error:
                # The context may end while it is waited for; whatever else it was must not end the stream.
                if context.ok():
                    self._node.get_logger().error(
                        f"waiting for images failed, trying again: {error!r}", throttle_duration_sec=5.0
                    )
                    time.sleep(AGAIN_S)
                continue
            for subscription in self._subscriptions:
                if subscription.handle.pointer in ready and not self._stopping:
                    self._take(subscription)

    def _ready(self, waits: Any) -> list[int]:
        """Pointers of the subscriptions that have messages, once there is one or the receiver is woken."""
        waits.clear_entities()
        for subscription in self._subscriptions:
            waits.add_subscription(subscription.handle)
        waits.add_guard_condition(self._wake.handle)
        waits.wait(CHECKED_NS)
        return list(waits.get_ready_entities("subscription"))

    def _take(self, subscription: Subscription) -> None:
        try:
            taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
            if taken is not None:
                subscription.callback(*taken)
        except Exception as error:
            # Nothing that one message does may end the stream.
            self._log.error(subscription.topic_name, f"a message could not be read: {error!r}")
