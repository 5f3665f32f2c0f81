"""The node's subscriptions to images and camera_info, which exist while somebody wants an output."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from derain_ros.config import Config
from derain_ros.ros.qos import IMAGE_IN, INFO_IN, INFO_LATCHED, overridden
from derain_ros.ros.receiver import Receiver

LINGER_S = 3.0
"""How long the inputs stay subscribed to after the last subscriber has gone. Some tools come back every second; they
must not wait until the cameras are discovered again."""
THERMAL = "thermal"
COMPRESSED = "/compressed"
"""What image_transport appends to the topic of the images."""

# By default rclpy also waits for events of each subscription, such as a QoS that does not match. That costs a third of
# a millisecond for each image, and a publisher that does not match warns by itself.
NO_EVENTS = SubscriptionEventCallbacks(use_default_callbacks=False)

ImageCallback = Callable[[str, bytes, int], None]
InfoCallback = Callable[[str, bytes], None]


class ImageInput:
    """A camera's images: `<camera>/image_raw`, or what image_transport names below it where `transport` is compressed.

    `callback` gets the camera's name, the serialized message, and how many messages the middleware lost since the last
    one.
    """

    def __init__(self, node: LifecycleNode, camera: str, transport: str, callback: ImageCallback) -> None:
        self._camera, self._callback = camera, callback
        self._kind, self._topic = Image, f"{camera}/image_raw"
        if transport == "compressed":
            self._kind, self._topic = CompressedImage, _compressed(node, self._topic)
        self.name: str = node.resolve_topic_name(self._topic)
        """The topic's name, with namespace and remappings."""
        self._qos = overridden(node, Subscription, self.name, IMAGE_IN)
        self._last = 0

    def subscribe(self, receiver: Receiver) -> None:
        """Have `receiver` take the images."""
        self._last = 0
        self._subscription = receiver.subscribe(
            self._kind, self._topic, self._on_message, self._qos, event_callbacks=NO_EVENTS, raw=True
        )

    def _on_message(self, message: bytes, info: dict[str, Any]) -> None:
        # None where the middleware does not number messages; numbers of several publishers cannot be told apart.
        number = info["publication_sequence_number"] or 0
        lost = max(0, number - self._last - 1) if self._last and self._subscription.get_publisher_count() == 1 else 0
        self._last = number
        self._callback(self._camera, message, lost)


class InfoInput:
    """The camera_info of a camera whose images are on the topic `images`.

    It is where `<camera>/camera_info` is remapped to; else beside the images, as image_transport has it, wherever these
    are remapped to; else, while nobody publishes that, `<camera>/camera_info` itself.
    """

    def __init__(self, node: LifecycleNode, camera: str, images: str, callback: InfoCallback) -> None:
        self._node, self._camera, self._callback = node, camera, callback
        own = f"{camera}/camera_info"
        beside = images.removesuffix(COMPRESSED).rpartition("/")[0] + "/camera_info"
        topics = [own] if _is_remapped(node, own) else list(dict.fromkeys((beside, node.resolve_topic_name(own))))
        names = [node.resolve_topic_name(topic) for topic in topics]
        self._topics = [
            (topic, name, partial(self._on_message, names[:place]), overridden(node, Subscription, name, INFO_IN))
            for place, (topic, name) in enumerate(zip(topics, names, strict=True))
        ]
        self._latched: list[Subscription] = []
        self._heard = False

    def subscribe(self, receiver: Receiver) -> None:
        """Have `receiver` take the messages."""
        self._heard = False
        for topic, _, callback, qos in self._topics:
            receiver.subscribe(CameraInfo, topic, callback, qos, event_callbacks=NO_EVENTS, raw=True)

    def look_for_latched(self) -> None:
        """Ask for what was published before, while nothing has come and a publisher keeps it; to be called again.

        Who keeps nothing is not asked: its publisher would warn of a subscription that it cannot serve.
        """
        if self._heard:
            self.unsubscribe()
        elif not self._latched:
            self._latched = [
                self._node.create_subscription(
                    CameraInfo, topic, callback, INFO_LATCHED, raw=True, event_callbacks=NO_EVENTS
                )
                for topic, name, callback, _ in self._topics
                if any(
                    publisher.qos_profile.durability == INFO_LATCHED.durability
                    for publisher in self._node.get_publishers_info_by_topic(name)
                )
            ]

    def unsubscribe(self) -> None:
        """Take down what is not the receiver's."""
        for subscription in self._latched:
            self._node.destroy_subscription(subscription)
        self._latched = []

    def _on_message(self, better: list[str], message: bytes, _: dict[str, Any]) -> None:
        """Hand a message on, unless somebody publishes one of the `better` topics."""
        if not any(map(self._node.count_publishers, better)):
            self._heard = True
            self._callback(self._camera, message)


class Inputs:
    """Subscriptions to all inputs, which are there while they are wanted; messages come in a thread of their own.

    `on_info` gets the name of a camera and a serialized camera_info. ConfigError, or rclpy's ParameterException, where
    the user's QoS of a topic cannot be used.
    """

    def __init__(
        self,
        node: LifecycleNode,
        config: Config,
        on_image: ImageCallback,
        on_thermal: ImageCallback,
        on_info: InfoCallback,
    ) -> None:
        self._node = node
        images = {camera: ImageInput(node, camera, config.transport, on_image) for camera in config.cameras}
        if config.thermal:
            images[THERMAL] = ImageInput(node, THERMAL, config.transport, on_thermal)
        self._infos = [InfoInput(node, camera, each.name, on_info) for camera, each in images.items()]
        # What is ready at once is taken in this order: a thermal frame is there, then, when its pair is whole.
        self._images = sorted(images.values(), key=lambda each: each is not images.get(THERMAL))
        self.names = {camera: each.name for camera, each in images.items()}
        """The topic of each camera's images, thermal among them."""
        self._receiver: Receiver | None = None
        self._wanted_s = 0.0
        self._changing = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the inputs are subscribed to."""
        return self._receiver is not None

    def attend(self, wanted: bool, now_s: float) -> bool:
        """Subscribe where the inputs are `wanted`; unsubscribe where they were not for LINGER_S, and return true."""
        with self._changing:
            if wanted:
                self._wanted_s = now_s
                if self._receiver is None:
                    self._open()
            elif self._receiver is not None and now_s - self._wanted_s > LINGER_S:
                self._close()
                return True
            if self._receiver is not None:
                for each in self._infos:
                    each.look_for_latched()
        return False

    def close(self) -> None:
        """Unsubscribe, and wait for the message at work."""
        with self._changing:
            self._close()

    def _open(self) -> None:
        receiver = Receiver(self._node)
        try:
            for images in self._images:
                images.subscribe(receiver)
            for infos in self._infos:
                infos.subscribe(receiver)
        except Exception as error:
            receiver.stop()
            self._node.get_logger().error(
                f"cannot subscribe to the inputs, trying again: {error}", throttle_duration_sec=5.0
            )
            return
        receiver.start()
        self._receiver = receiver

    def _close(self) -> None:
        if self._receiver is not None:
            self._receiver.stop()
            self._receiver = None
            for each in self._infos:
                each.unsubscribe()


def _compressed(node: LifecycleNode, images: str) -> str:
    """The topic of the compressed form of `images`: what the whole name is remapped to, or else what is appended to
    that which the name of the images is remapped to, as image_transport does."""
    whole = images + COMPRESSED
    return whole if _is_remapped(node, whole) else node.resolve_topic_name(images) + COMPRESSED


def _is_remapped(node: LifecycleNode, topic: str) -> bool:
    return bool(node.resolve_topic_name(topic) != node.resolve_topic_name(topic, only_expand=True))
