"""The launch file: what it makes of its arguments, and, where launch_ros is installed, a real launch."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from derain_ros.config import Config
from derain_ros.ros.transport import PROFILE, PROFILES, chosen

LAUNCH_FILE = Path(__file__).parents[1] / "launch" / "derain.launch.py"
REAL = find_spec("launch_ros") is not None


class Recorded:
    """Anything of launch that is only made, never asked."""

    def __init__(self, *given: Any, **named: Any) -> None:
        self.given, self.named = given, named


class Declared(Recorded):
    """DeclareLaunchArgument."""

    def __init__(self, name: str, *, default_value: str, description: str) -> None:
        super().__init__(name, default_value=default_value, description=description)


class Function(Recorded):
    """OpaqueFunction."""

    def __init__(self, *, function: Callable[..., list[Any]]) -> None:
        super().__init__(function=function)


class Substitution(Recorded):
    """LaunchConfiguration; the context of these tests is a mapping."""

    def perform(self, context: dict[str, str]) -> str:
        return context[self.given[0]]


class Node(Recorded):
    """launch_ros.actions.Node: takes what that takes of its own and, of ExecuteProcess, what the launch file needs."""

    def __init__(
        self,
        *,
        executable: str,
        package: str,
        name: str,
        namespace: str,
        parameters: list[Any],
        remappings: list[tuple[str, str]],
        arguments: list[str],
        output: str,
        additional_env: dict[str, str],
    ) -> None:
        super().__init__(**{key: value for key, value in locals().items() if key not in ("self", "__class__")})


STUBS: dict[str, dict[str, type]] = {
    "launch": {"LaunchContext": Recorded, "LaunchDescription": Recorded, "LaunchDescriptionEntity": Recorded},
    "launch.actions": {"DeclareLaunchArgument": Declared, "OpaqueFunction": Function},
    "launch.substitutions": {"LaunchConfiguration": Substitution},
    "launch_ros": {},
    "launch_ros.actions": {"Node": Node},
}


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that the launch file defines, with launch and launch_ros replaced."""
    for name, found in STUBS.items():
        module = ModuleType(name)
        vars(module).update(found)
        monkeypatch.setitem(sys.modules, name, module)
    return runpy.run_path(str(LAUNCH_FILE))


@pytest.fixture
def launch_file(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The names that the launch file defines, with launch and launch_ros themselves where they are installed."""
    return runpy.run_path(str(LAUNCH_FILE)) if REAL else request.getfixturevalue("stubbed")


def launched(stubbed: dict[str, Any], **arguments: str) -> dict[str, Any]:
    """What Node is given where the launch file is included with these arguments."""
    (entities,) = stubbed["generate_launch_description"]().given
    *declared, function = entities
    context = {entity.given[0]: entity.named["default_value"] for entity in declared}
    assert isinstance(function, Function) and arguments.keys() <= context.keys()
    (node,) = function.named["function"](context | arguments)
    assert isinstance(node, Node)
    return node.named


def given(launch_file: dict[str, Any], **arguments: str) -> dict[str, str]:
    defaults = {name: default for name, default, _ in launch_file["ARGUMENTS"]}
    assert arguments.keys() <= defaults.keys()
    return defaults | arguments


def test_an_argument_left_empty_leaves_the_parameter_to_the_file(launch_file: dict[str, Any]) -> None:
    assert launch_file["parameters"](given(launch_file)) == {}


def test_arguments_become_parameters(launch_file: dict[str, Any]) -> None:
    found = launch_file["parameters"](
        given(
            launch_file,
            cameras="front, rear",
            thermal="true",
            autostart="False",
            engine="onnxruntime",
            use_sim_time="true",
            transport="compressed",
            pair_tolerance_ms="25",
            lazy="false",
        )
    )
    assert found == {
        "cameras": ["front", "rear"],
        "thermal": True,
        "autostart": False,
        "engine": "onnxruntime",
        "use_sim_time": True,
        "transport": "compressed",
        "pair_tolerance_ms": 25.0,
        "lazy": False,
    }
    assert found.keys() - {"use_sim_time"} <= {field.name for field in fields(Config)}


@pytest.mark.parametrize(
    ("written", "cameras"),
    [
        ("left", ["left"]),
        ("[left]", ["left"]),
        ("['left', \"right\"]", ["left", "right"]),
        ("left,right", ["left", "right"]),
        ("[left, right]", ["left", "right"]),
    ],
)
def test_cameras_are_written_as_the_parameter_is_or_plainly(
    launch_file: dict[str, Any], written: str, cameras: list[str]
) -> None:
    found = launch_file["parameters"](given(launch_file, cameras=written))
    assert found == {"cameras": cameras} and Config(**found)


def test_neither_true_nor_false_is_refused(launch_file: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="thermal:=on: must be true or false"):
        launch_file["parameters"](given(launch_file, thermal="on"))


def test_inputs_become_remappings(launch_file: dict[str, Any]) -> None:
    assert launch_file["remappings"]("") == []
    assert launch_file["remappings"]("left=/cam0/image_raw, right=image") == [
        ("left/image_raw", "/cam0/image_raw"),
        ("left/image_raw/compressed", "/cam0/image_raw/compressed"),
        ("left/camera_info", "/cam0/camera_info"),
        ("right/image_raw", "image"),
        ("right/image_raw/compressed", "image/compressed"),
        ("right/camera_info", "camera_info"),
    ]
    with pytest.raises(ValueError, match="'/cam0' is not of the form camera=topic"):
        launch_file["remappings"]("/cam0")


def test_the_node_is_told_of_another_profile_and_of_none(
    launch_file: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, profile = launch_file["environment"], tmp_path / "profile.xml"
    profile.touch()
    monkeypatch.setenv(PROFILE, "/of/the/user.xml")
    assert environment("none") == environment("default") == {}
    assert environment(str(profile)) == dict.fromkeys(PROFILES, str(profile))
    monkeypatch.delenv(PROFILE)
    assert environment("default") == {} and environment("none") == {PROFILE: ""}
    # The node takes it for what it is meant to be.
    assert chosen(environment("none")) == PROFILE and chosen(environment("default")) == ""
    with pytest.raises(ValueError, match="there is no such file"):
        environment(str(tmp_path / "missing.xml"))


def test_the_node_is_started_with_what_the_arguments_ask_for(stubbed: dict[str, Any], tmp_path: Path) -> None:
    profile = tmp_path / "profile.xml"
    profile.touch()
    assert launched(
        stubbed,
        namespace="/fleet/robot",
        params_file="/etc/derain.yaml",
        cameras="front,rear",
        inputs="front=/cam0/image",
        log_level="debug",
        fastdds_profile=str(profile),
    ) == {
        "package": "derain_ros",
        "executable": "derain_node",
        "name": "derain",
        "namespace": "/fleet/robot",
        "output": "screen",
        "parameters": ["/etc/derain.yaml", {"cameras": ["front", "rear"]}],
        "remappings": [
            ("front/image_raw", "/cam0/image"),
            ("front/image_raw/compressed", "/cam0/image/compressed"),
            ("front/camera_info", "/cam0/camera_info"),
        ],
        "arguments": ["--ros-args", "--log-level", "fleet.robot.derain:=debug"],
        "additional_env": dict.fromkeys(PROFILES, str(profile)),
    }


def test_without_arguments_the_node_has_its_defaults(stubbed: dict[str, Any]) -> None:
    assert launched(stubbed) == {
        "package": "derain_ros",
        "executable": "derain_node",
        "name": "derain",
        "namespace": "",
        "output": "screen",
        "parameters": [{}],
        "remappings": [],
        "arguments": ["--ros-args", "--log-level", "derain:=info"],
        "additional_env": {},
    }


@pytest.mark.skipif(not REAL, reason="launch_ros is not installed: source ROS 2")
def test_a_real_launch_ends_with_0_on_ctrl_c(tmp_path: Path) -> None:
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        get_package_prefix("derain_ros")
    except (PackageNotFoundError, OSError):  # the latter where AMENT_PREFIX_PATH is not set
        pytest.skip("derain_ros is not in AMENT_PREFIX_PATH: build it with colcon and source it")
    from tiny_models import write_models

    models = write_models(tmp_path / "models")
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text(f"/**:\n  ros__parameters:\n    models: {models}\n    cameras: [front, rear]\n")
    code = (
        "import sys; from launch import LaunchService;"
        "from launch.actions import IncludeLaunchDescription as I; from launch import LaunchDescription as D;"
        "from launch.launch_description_sources import PythonLaunchDescriptionSource as S;"
        "service = LaunchService(); service.include_launch_description(D([I(S(sys.argv[1]),"
        " launch_arguments=[('params_file', sys.argv[2]), ('namespace', 'robot')])])); sys.exit(service.run())"
    )
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "ROS_LOG_DIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(LAUNCH_FILE), str(parameters)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "active for front, rear" in line:
                process.send_signal(signal.SIGINT)
    assert process.returncode == 0 and any("finished cleanly" in line for line in lines), "".join(lines)
    assert any("[robot.derain]" in line for line in lines)
