"""What the node publishes and subscribes to, asked of a node that runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import rclpy
from rclpy.parameter import Parameter
from ros_bench import wait_for
from tiny_models import write_models

from derain_ros.ros.node import DerainNode


def topics_of_node(namespace: str = "/") -> tuple[dict[str, str], dict[str, str]]:
    """By name, the types of the topics that the node publishes, and of those that it subscribes to."""
    context = rclpy.Context()
    rclpy.init(context=context)
    with tempfile.TemporaryDirectory() as folder:
        overrides = [Parameter("models", value=str(write_models(Path(folder)))), Parameter("lazy", value=False)]
        node = DerainNode(context=context, parameter_overrides=overrides, namespace=namespace)
        published, subscribed = (
            {name: kind for name, (kind,) in found(node.get_name(), node.get_namespace())}
            for found in (node.get_publisher_names_and_types_by_node, node.get_subscriber_names_and_types_by_node)
        )
        # Python must not end while a thread of the node still loads models.
        wait_for(lambda: not node.engine.startswith("loading"), "the models")
        node.destroy_node()
    rclpy.try_shutdown(context=context)
    return published, subscribed
