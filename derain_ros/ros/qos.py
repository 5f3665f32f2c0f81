"""Quality of service of the topics: what they are made with, and what the user's parameters make of it."""

from __future__ import annotations

from copy import copy

from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSDurabilityPolicy, QoSPolicyKind, QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions, _declare_qos_parameters
from rclpy.subscription import Subscription

from derain_ros.config import ConfigError

# Best effort takes reliable cameras as well. Older images are of no use, but there is room for two: what comes directly
# behind an image, garbage or a duplicate, would else take its place.
IMAGE_IN = QoSProfile(depth=2, reliability=QoSReliabilityPolicy.BEST_EFFORT)
INFO_IN = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.BEST_EFFORT)
# What was published before is kept for those alone who ask for it, and they hear nobody who keeps nothing.
INFO_LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
# Reliable matches subscribers of both kinds; frames passed on in a burst stay together.
IMAGE_OUT = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.RELIABLE)
INFO_OUT = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.RELIABLE)
STATUS_OUT = QoSProfile(depth=10)
LATCHED_OUT = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)

DURATIONS = (QoSPolicyKind.DEADLINE, QoSPolicyKind.LIFESPAN, QoSPolicyKind.LIVELINESS_LEASE_DURATION)
POLICIES = (
    QoSPolicyKind.HISTORY,
    QoSPolicyKind.DEPTH,
    QoSPolicyKind.RELIABILITY,
    QoSPolicyKind.DURABILITY,
    QoSPolicyKind.LIVELINESS,
    *DURATIONS,
)
"""What can be set; a lifespan only of what is published."""
VALUES = (
    "history is keep_last or keep_all, depth 1 or more, reliability best_effort or reliable, durability "
    "volatile or transient_local, liveliness automatic or manual_by_topic, deadline, lifespan and "
    "liveliness_lease_duration nanoseconds from 0 on"
)


def overridden(node: Node, kind: type[Publisher] | type[Subscription], topic: str, qos: QoSProfile) -> QoSProfile:
    """`qos` as the parameters `qos_overrides.<topic>.publisher.<policy>`, or `….subscription.…`, want it.

    `topic` is the name after remapping. The parameters are declared here, not where rclpy would, as subscriptions come
    and go while the node runs. ConfigError, or rclpy's ParameterException, where a value cannot be used.
    """
    wanted = copy(qos)
    try:
        _declare_qos_parameters(kind, node, topic, wanted, QoSOverridingOptions(POLICIES, callback=_usable))
    except ParameterException:
        raise
    except Exception as error:  # of several types, by policy
        side = "publisher" if kind is Publisher else "subscription"
        raise ConfigError(f"qos_overrides.{topic}.{side}: {error}; {VALUES}") from error
    return wanted


def _usable(qos: QoSProfile) -> SetParametersResult:
    """What rclpy takes from a parameter, and the middleware would refuse as soon as somebody subscribes."""
    odd = [
        f"{policy.name.lower()} {getattr(qos, policy.name.lower()).nanoseconds}"
        for policy in DURATIONS
        if getattr(qos, policy.name.lower()).nanoseconds < 0
    ]
    odd += [
        f"{type(policy).__name__} unknown"
        for policy in (qos.history, qos.reliability, qos.durability, qos.liveliness)
        if policy.name == "UNKNOWN"
    ]
    odd += [f"depth {qos.depth}"] * (qos.depth <= 0)
    return SetParametersResult(successful=not odd, reason=", ".join(odd))
