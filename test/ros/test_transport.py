from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from derain_ros.resources import default_file
from derain_ros.ros import transport
from derain_ros.ros.transport import BUILTIN, PROFILE, PROFILES, use_profile

PROFILE_OF_3 = PROFILES[1]
LARGEST = """
import rclpy
from derain_ros.ros.process import tune_process
tune_process()
rclpy.init()
node = rclpy.create_node("publisher")
ends = [line.split()[0].split("-") for line in open("/proc/self/maps") if "/fastrtps_" in line or "/fastdds_" in line]
print(max(int(end, 16) - int(begin, 16) for begin, end in ends) >> 20)
"""
"""Prints how much shared memory Fast DDS (fastrtps: 2, fastdds: 3) has for what a process publishes, in MiB."""
SHARED_MIB = 16
"""What the shipped profile gives it; Fast DDS 2 takes less by itself, Fast DDS 3 another size."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `use_profile` sets is taken back."""
    for name in (*PROFILES, BUILTIN, "RMW_IMPLEMENTATION"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_the_shipped_profile_is_taken_where_there_is_none() -> None:
    use_profile()
    assert Path(os.environ[PROFILE]).is_file() and os.environ[PROFILE].endswith("fastdds.xml")


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({PROFILE: "/of/the/user.xml"}, ("/of/the/user.xml", "/of/the/user.xml")),
        ({PROFILE_OF_3: "/of/the/user.xml"}, ("/of/the/user.xml", "/of/the/user.xml")),
        ({PROFILE: "/for/2.xml", PROFILE_OF_3: "/for/3.xml"}, ("/for/2.xml", "/for/3.xml")),
        ({PROFILE: "/of/the/user.xml", BUILTIN: "UDPv4"}, ("/of/the/user.xml", "/of/the/user.xml")),
        ({PROFILE: ""}, (None, None)),
        ({PROFILE_OF_3: ""}, (None, None)),
        ({BUILTIN: "LARGE_DATA"}, (None, None)),
        ({PROFILE: "", BUILTIN: "LARGE_DATA"}, (None, None)),
    ],
)
def test_the_users_choice_stays(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], taken: tuple[str | None, ...]
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    use_profile()
    assert tuple(os.environ.get(name) for name in PROFILES) == taken
    assert os.environ.get(BUILTIN) == given.get(BUILTIN)


@pytest.mark.parametrize(
    ("given", "shipped"),
    [
        ({}, True),
        ({BUILTIN: "LARGE_DATA"}, False),
        ({BUILTIN: ""}, True),
        ({PROFILE: ""}, False),
        ({PROFILE_OF_3: str(default_file("fastdds.xml"))}, True),
    ],
)
def test_fast_dds_is_as_the_user_has_chosen(given: dict[str, str], shipped: bool) -> None:
    done = subprocess.run([sys.executable, "-c", LARGEST], env=os.environ | given, capture_output=True, text=True)
    assert done.returncode == 0 and (int(done.stdout) == SHARED_MIB) == shipped, done.stderr
    assert "XMLPARSER" not in done.stderr


@pytest.mark.parametrize(
    ("middleware", "taken"),
    [("rmw_cyclonedds_cpp", False), ("rmw_fastrtps_cpp", True), ("rmw_fastrtps_dynamic_cpp", True)],
)
def test_other_middleware_is_left_alone(monkeypatch: pytest.MonkeyPatch, middleware: str, taken: bool) -> None:
    monkeypatch.setenv("RMW_IMPLEMENTATION", middleware)
    use_profile()
    assert (PROFILE in os.environ) == taken


def test_an_installation_without_the_profile_starts_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Path:
        raise FileNotFoundError(name)

    monkeypatch.setattr(transport, "default_file", missing)
    use_profile()
    assert PROFILE not in os.environ


def test_the_node_started_directly_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from derain_ros.ros import node

    def init(**arguments: object) -> None:
        seen.append(os.environ.get(PROFILE))
        raise RuntimeError("no further")

    seen: list[str | None] = []
    monkeypatch.setattr(node.rclpy, "init", init)
    monkeypatch.setattr(node.signal, "signal", lambda *given: None)
    assert node.main([]) == 1
    assert seen and str(seen[0]).endswith("fastdds.xml")
