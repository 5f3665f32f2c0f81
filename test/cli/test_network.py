from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from derain_ros.cli import network
from derain_ros.resources import default_file
from derain_ros.ros.transport import BUILTIN, PROFILE, PROFILES

SHIPPED = str(default_file("fastdds.xml"))
RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is chosen."""
    for name in (*PROFILES, BUILTIN, "RMW_IMPLEMENTATION", RANGE, "ROS_DOMAIN_ID", *network.DISCOVERY):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "not XML",
        "<dds/>",
        (
            '<dds xmlns="http://www.eprosima.com"><transport_descriptors><transport_descriptor>'
            "<segment_size>524288</segment_size></transport_descriptor></transport_descriptors></dds>"
        ),
    ],
)
def test_a_useless_profile(text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "profile.xml"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv(PROFILE, str(path))
    check = network.transport()
    assert check.remedy != "" and str(path) in check.found


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        Path.mkdir,
        lambda path: path.write_bytes(b"<dds>" + bytes(2 << 20)),
    ],
    ids=["pipe", "device", "folder", "large"],
)
def test_a_profile_that_is_no_file_is_told_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "profile.xml")
    monkeypatch.setenv(PROFILE, str(tmp_path / "profile.xml"))
    check = network.transport()
    assert f"{tmp_path / 'profile.xml'} cannot be used" in check.found and SHIPPED in check.remedy


@pytest.mark.parametrize(
    ("given", "found", "well"),
    [
        ({}, "the node uses the shipped profile, other programs", False),
        ({PROFILE: SHIPPED}, "16 MiB of shared memory", True),
        ({PROFILE: SHIPPED, BUILTIN: "UDPv4"}, f"override {BUILTIN}=UDPv4", False),
        ({PROFILE: ""}, f"{PROFILE} is empty, so the node uses no profile", False),
        ({PROFILES[1]: SHIPPED}, f"ignores {PROFILES[1]}", False),
        ({BUILTIN: "LARGE_DATA"}, f"{BUILTIN}=LARGE_DATA, which the node uses", True),
        ({BUILTIN: "LARGE_DATA?max_msg_size=1MB"}, "set it for the camera driver and the subscribers too", True),
        ({BUILTIN: "UDPv4"}, f"{BUILTIN}=UDPv4", True),
        ({BUILTIN: "DEFAULT"}, "512 kB", False),
        ({BUILTIN: "SHM"}, "512 kB", False),
        ({BUILTIN: "BIG"}, "is none of LARGE_DATA", False),
        ({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}, "rmw_cyclonedds_cpp", True),
        ({"RMW_IMPLEMENTATION": "rmw_zenoh_cpp", BUILTIN: "DEFAULT"}, "rmw_zenoh_cpp", True),
    ],
)
def test_how_images_travel(monkeypatch: pytest.MonkeyPatch, given: dict[str, str], found: str, well: bool) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    check = network.transport()
    assert found in check.found and (check.remedy == "") == well
    assert well or SHIPPED in check.remedy or BUILTIN in check.remedy


@pytest.mark.parametrize(
    ("given", "found", "well"),
    [
        ({}, "domain 0, SUBNET: this network", True),
        ({"ROS_DOMAIN_ID": "7", RANGE: ""}, "domain 7, SUBNET", True),
        ({RANGE: "LOCALHOST"}, "LOCALHOST: this machine only", True),
        ({RANGE: "OFF"}, "OFF: no other process", False),
        ({RANGE: "lan"}, "lan: unknown range", False),
        (
            {"ROS_STATIC_PEERS": "10.0.0.2", "ROS_DISCOVERY_SERVER": "10.0.0.1:11811"},
            "ROS_STATIC_PEERS=10.0.0.2, ROS_DISCOVERY_SERVER=10.0.0.1:11811",
            True,
        ),
    ],
)
def test_who_is_found(monkeypatch: pytest.MonkeyPatch, given: dict[str, str], found: str, well: bool) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    check = network.discovery()
    assert found in check.found and (check.remedy == "") == well
