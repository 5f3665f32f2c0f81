from __future__ import annotations

import pytest
from typer.testing import CliRunner

from derain_ros.cli.main import app

main = pytest.importorskip("derain_ros.ros.node")


@pytest.fixture()
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments that the node's main was called with; it ends with 3."""
    seen: list[list[str]] = []
    monkeypatch.setattr(main, "main", lambda args: seen.append(args) or 3)
    return seen


def test_hands_on_the_arguments_of_ros_and_the_exit_code(calls: list[list[str]]) -> None:
    arguments = ["--ros-args", "-r", "__ns:=/robot", "-p", "cameras:=[front]", "--params-file", "x.yaml"]
    result = CliRunner().invoke(app, ["node", *arguments])
    assert result.exit_code == 3
    assert calls == [["derain_node", *arguments]]


def test_refused_ros_arguments_are_told_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    import rclpy

    def refuse(args: list[str]) -> int:
        rclpy.init(args=args, context=rclpy.Context())
        return 0

    monkeypatch.setattr(main, "main", refuse)
    result = CliRunner().invoke(app, ["node", "--ros-args", "--nonsense"])
    assert result.exit_code == 1
    assert "derain: ROS 2 reports an error: " in result.output
    assert "--nonsense" in result.output
