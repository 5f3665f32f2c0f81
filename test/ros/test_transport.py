from __future__ import annotations

import os
from pathlib import Path

import pytest

from derain_ros.ros import transport
from derain_ros.ros.transport import PROFILE, use_profile


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `use_profile` sets is taken back."""
    monkeypatch.setenv(PROFILE, "")
    monkeypatch.delenv(PROFILE)
    monkeypatch.delenv("RMW_IMPLEMENTATION", raising=False)


def test_the_shipped_profile_is_taken_where_there_is_none() -> None:
    use_profile()
    assert Path(os.environ[PROFILE]).is_file() and os.environ[PROFILE].endswith("fastdds.xml")


def test_the_users_choice_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROFILE, "/of/the/user.xml")
    use_profile()
    assert os.environ[PROFILE] == "/of/the/user.xml"


@pytest.mark.parametrize(("middleware", "taken"), [("rmw_cyclonedds_cpp", False), ("rmw_fastrtps_cpp", True),
                                                   ("rmw_fastrtps_dynamic_cpp", True)])
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
