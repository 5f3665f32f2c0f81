"""Imports go down the rooms of ARCHITECTURE.md only, and the robot's side imports nothing of the workshop."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "derain_ros"
ROOMS = re.findall(r"^\| `(\w+)/` \|", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), re.M)
WORKSHOP = {"data", "evaluate", "nets", "papers", "publish", "report", "train"}
FORBIDDEN = {
    "runtime": {"rclpy", "torch"},
    "engine": {"rclpy", "torch"},
    "rain": {"rclpy", "torch"},
    "ros": {"torch"},
    "replay": {"torch"},
    "data": {"rclpy"},
    "train": {"rclpy"},
    "nets": {"rclpy"},
}
"""What no file of a room imports, at whatever place."""


def imported(room: str) -> dict[str, set[str]]:
    """By file of a room, the modules it imports anywhere, those of this package by room."""
    found: dict[str, set[str]] = {}
    for path in (PACKAGE / room).rglob("*.py"):
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}: imports are absolute"
                module = node.module or ""
                names |= {f"{module}.{alias.name}" for alias in node.names} if module == "derain_ros" else {module}
        found[str(path.relative_to(PACKAGE))] = {
            name.split(".")[1] if name.startswith("derain_ros.") else name.split(".")[0] for name in names
        }
    return found


def test_the_list_names_every_room() -> None:
    there = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(ROOMS) == there and len(ROOMS) == len(there)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_down(room: str) -> None:
    above = set(ROOMS[: ROOMS.index(room)])
    assert {file: names & above for file, names in imported(room).items() if names & above} == {}


@pytest.mark.parametrize("room", FORBIDDEN)
def test_rooms_stay_free_of_what_is_not_theirs(room: str) -> None:
    assert {file: names & FORBIDDEN[room] for file, names in imported(room).items() if names & FORBIDDEN[room]} == {}


@pytest.mark.parametrize("room", ["ros", "replay", "runtime", "engine", "rain"])
def test_the_robot_imports_nothing_of_the_workshop(room: str) -> None:
    assert {file: names & WORKSHOP for file, names in imported(room).items() if names & WORKSHOP} == {}
