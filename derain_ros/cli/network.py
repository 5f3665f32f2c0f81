"""What `derain doctor` says of the way that images take between processes."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from xml.etree import ElementTree

from derain_ros.cli.check import Check
from derain_ros.files import read_file
from derain_ros.ros.transport import BUILTIN, PROFILE, chosen

MOST_BYTES = 1 << 20
"""Of a profile: none that anybody writes comes near."""
SEGMENT = 8 << 20
"""Bytes of shared memory a publisher of images needs; with Fast DDS's 512 kB it loses most of them."""
SHARED_MEMORY = 64 << 20
"""Bytes that the segments of two cameras, the node and their readers fill."""
FEW_BYTES = ("DEFAULT", "DEFAULTv6", "SHM")
"""Transports of FASTDDS_BUILTIN_TRANSPORTS that carry images through Fast DDS's 512 kB."""
BUILTINS = ("LARGE_DATA", "LARGE_DATAv6", "UDPv4", "UDPv6", "P2P")
"""The others."""
RANGES = {
    "SUBNET": "this network",
    "LOCALHOST": "this machine only",
    "OFF": "no other process",
    "SYSTEM_DEFAULT": "as the middleware is configured",
}
"""Whom nodes find, by ROS_AUTOMATIC_DISCOVERY_RANGE."""
DISCOVERY = (
    "ROS_STATIC_PEERS",
    "ROS_DISCOVERY_SERVER",
    "ROS_LOCALHOST_ONLY",
    "CYCLONEDDS_URI",
    "ZENOH_CONFIG_OVERRIDE",
    "ZENOH_SESSION_CONFIG_URI",
    "RMW_FASTRTPS_USE_QOS_FROM_XML",
    "RMW_FASTRTPS_PUBLICATION_MODE",
)
"""More variables that change what nodes find of each other, or how they send."""


def transport() -> Check:
    """How images travel from here, as the variables say that the node goes by; the camera driver's terminal needs the
    same."""
    from derain_ros.resources import default_file

    try:
        shipped_profile = shlex.quote(str(default_file("fastdds.xml")))
    except FileNotFoundError as error:
        return Check("transport", str(error), "install the package again")
    remedy = f"in this terminal and in the camera driver's: export {PROFILE}={shipped_profile}"
    name = chosen(os.environ)
    value = os.environ.get(name, "")
    if name == "RMW_IMPLEMENTATION":
        return Check("transport", f"{value}: it does not use the profile of Fast DDS")
    if name == BUILTIN:
        return _builtin(value, f"unset {BUILTIN}; {remedy}")
    if not value:
        which = (
            f"{name} is empty, so the node uses no profile"
            if name
            else (f"{PROFILE} is not set: the node uses the shipped profile, other programs in this terminal do not")
        )
        return Check("transport", f"{which}; images of programs without a profile will get lost", remedy)
    path = Path(value)
    try:
        profile = ElementTree.fromstring(read_file(path, MOST_BYTES))
        sizes = [int(e.text or 0) for e in profile.iter() if e.tag.endswith("}segment_size")]
    except (OSError, ElementTree.ParseError, ValueError) as error:
        return Check("transport", f"{name}: {path} cannot be used: {error}", remedy)
    if max(sizes, default=0) < SEGMENT:
        return Check("transport", f"{path}: less than {SEGMENT >> 20} MiB of shared memory per publisher", remedy)
    found = f"{path}, {max(sizes) >> 20} MiB of shared memory per publisher"
    if name != PROFILE:
        return Check("transport", f"{found}; in Fast DDS 2 only this node uses it: Fast DDS 2 ignores {name}", remedy)
    if os.environ.get(BUILTIN):
        return Check(
            "transport",
            f"{found}; its transports override {BUILTIN}={os.environ[BUILTIN]}",
            f"unset {BUILTIN}, or unset {name} to use {BUILTIN}",
        )
    return Check("transport", found)


def _builtin(value: str, remedy: str) -> Check:
    """What comes of FASTDDS_BUILTIN_TRANSPORTS, whose value may go on with options behind a question mark."""
    found = f"{BUILTIN}={value}, which the node uses instead of its profile"
    kind = value.partition("?")[0]
    if kind not in (*BUILTINS, *FEW_BYTES):
        return Check("transport", f"{found}: is none of {', '.join((*BUILTINS, *FEW_BYTES))}", remedy)
    if kind in FEW_BYTES:
        return Check("transport", f"{found}: 512 kB of shared memory per publisher; images will get lost", remedy)
    return Check("transport", f"{found}; set it for the camera driver and the subscribers too")


def discovery() -> Check:
    """Which other nodes are found, as the variables of ROS say."""
    variable = "ROS_AUTOMATIC_DISCOVERY_RANGE"
    given = os.environ.get(variable) or "SUBNET"
    more = "".join(f", {name}={os.environ[name]}" for name in DISCOVERY if os.environ.get(name))
    found = f"domain {os.environ.get('ROS_DOMAIN_ID') or 0}, {given}: {RANGES.get(given, 'unknown range')}{more}"
    if given not in RANGES:
        return Check("discovery", found, f"set {variable} to one of {', '.join(RANGES)}")
    return Check("discovery", found, f"unset {variable}, or set it to LOCALHOST" if given == "OFF" else "")


def shared_memory() -> Check:
    """Room for the transport's segments; containers are often given too little."""
    if not Path("/dev/shm").is_dir():
        return Check("shared memory", "/dev/shm does not exist: Fast DDS sends over the network")
    free = shutil.disk_usage("/dev/shm").free
    remedy = "start the container with --ipc=host or --shm-size=512m" if free < SHARED_MEMORY else ""
    return Check("shared memory", f"{free >> 20} MiB free", remedy)
