"""The launch files of the examples: what they start is wired to what the node publishes."""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
FILES = sorted(EXAMPLES.glob("*.launch.py"))
REAL = find_spec("launch_ros") is not None
CONFIG = '%YAML:1.0\nimu: 1\nimage0_topic: "/camera/{0}/left/image_raw"\nimage1_topic: "/camera/{0}/right/image_raw"\n'


class Recorded:
    """Anything of launch: it keeps what it is given."""

    def __init__(self, *given: Any, **named: Any) -> None:
        self.given, self.named = given, named

    def perform(self, context: dict[str, str]) -> str:
        """The text of LaunchConfiguration."""
        return context[self.given[0]]


KINDS = {
    name: type(name, (Recorded,), {})
    for name in (
        "LaunchContext",
        "LaunchDescription",
        "LaunchDescriptionEntity",
        "DeclareLaunchArgument",
        "ExecuteProcess",
        "IncludeLaunchDescription",
        "OpaqueFunction",
        "IfCondition",
        "PythonLaunchDescriptionSource",
        "EqualsSubstitution",
        "LaunchConfiguration",
        "PathJoinSubstitution",
        "Node",
        "ComposableNodeContainer",
        "ComposableNode",
        "FindPackageShare",
    )
}
MODULES = (
    "launch",
    "launch.actions",
    "launch.conditions",
    "launch.launch_description_sources",
    "launch.substitutions",
    "launch_ros",
    "launch_ros.actions",
    "launch_ros.descriptions",
    "launch_ros.substitutions",
)


def text(value: Any, context: dict[str, str]) -> str:
    """What launch makes of a string, a substitution, or a list of them."""
    if isinstance(value, (list, tuple)):
        return "".join(text(part, context) for part in value)
    return value if isinstance(value, str) else value.perform(context)


@pytest.fixture
def actions(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a launch file with recorders in place of launch; gives its actions and the values of its arguments."""
    for name in MODULES:
        module = ModuleType(name)
        vars(module).update(KINDS)
        monkeypatch.setitem(sys.modules, name, module)

    def run(path: Path, **arguments: str) -> tuple[list[Any], dict[str, str]]:
        (entities,) = runpy.run_path(str(path))["generate_launch_description"]().given
        context = {
            e.given[0]: e.named.get("default_value", "")
            for e in entities
            if isinstance(e, KINDS["DeclareLaunchArgument"])
        }
        assert arguments.keys() <= context.keys()
        context |= arguments
        made = [
            one
            for e in entities
            for one in (e.named["function"](context) if isinstance(e, KINDS["OpaqueFunction"]) else [e])
        ]
        return made, context

    return run


def remappings(actions: list[Any], context: dict[str, str]) -> list[tuple[str, str]]:
    """The remappings of all nodes, those in containers too."""
    nodes = [node for action in actions for node in action.named.get("composable_node_descriptions", [action])]
    return [
        (text(theirs, context), text(ours, context))
        for node in nodes
        for theirs, ours in node.named.get("remappings", [])
    ]


@pytest.fixture(scope="module")
def published() -> dict[str, set[str]]:
    """By what a launch file's argument `images` says: the topics of the cameras that are published by then."""
    for name in ("rclpy", "onnx", "onnxruntime"):
        pytest.importorskip(name)
    from node_topics import topics_of_node

    derained = set(topics_of_node("/camera")[0])
    # What smooth_masked.py publishes; its own test receives it.
    masked = {
        f"/camera/masked/{camera}/{name}" for camera in ("left", "right") for name in ("image_raw", "camera_info")
    }
    return {"derained": derained, "masked": derained | masked}


@pytest.mark.parametrize("images", ["derained", "masked"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_consumers_are_given_topics_of_the_node(
    path: Path, images: str, actions: Any, published: dict[str, set[str]], tmp_path: Path
) -> None:
    (tmp_path / "vins.yaml").write_text(CONFIG.format(images))
    arguments = {"config": str(tmp_path / "vins.yaml")} if path.name.startswith("vins") else {}
    if path.name.startswith(("orb", "rtabmap")):
        arguments["images"] = images
    made, context = actions(path, **arguments)
    wired = remappings(made, context)
    outputs = {topic for theirs, topic in wired if theirs == "image_rect"}
    inputs = {topic for theirs, topic in wired if theirs != "image_rect"}
    assert inputs <= published[images] | outputs
    if arguments.get("images") == "masked":
        assert all("/masked/" in topic for topic in inputs)
    assert inputs or path.name.startswith(("vins", "segmentation"))
    # The node itself is started in the namespace of the cameras.
    (include,) = (one for one in made if isinstance(one, KINDS["IncludeLaunchDescription"]))
    assert {text(name, context): text(value, context) for name, value in include.named["launch_arguments"]} == {
        "namespace": "camera"
    }
    share, *where = include.given[0].given[0].given[0]
    assert share.given == ("derain_ros",) and (ROOT / Path(*where)).is_file()


def test_both_masks_go_to_isaac_ros_visual_slam(actions: Any) -> None:
    made, context = actions(EXAMPLES / "isaac_visual_slam.launch.py")
    wired = dict(remappings(made, context))
    for k, camera in enumerate(("left", "right")):
        assert wired[f"visual_slam/image_{k}"] == f"/camera/derained/{camera}/image_raw"
        assert wired[f"visual_slam/camera_info_{k}"] == f"/camera/derained/{camera}/camera_info"
        assert wired[f"visual_slam/seg_mask_{k}"] == f"/camera/derained/{camera}/anomaly_mask"


def test_vins_is_not_started_on_other_images(actions: Any, tmp_path: Path) -> None:
    (tmp_path / "vins.yaml").write_text(CONFIG.format("derained").replace("/camera/derained/right", "/right"))
    with pytest.raises(ValueError, match="must be /camera/derained/left/image_raw and"):
        actions(EXAMPLES / "vins_fusion.launch.py", config=str(tmp_path / "vins.yaml"))


@pytest.mark.parametrize("images", ["derained", "masked"])
def test_the_blur_runs_where_it_is_asked_for(images: str, actions: Any, tmp_path: Path) -> None:
    (tmp_path / "vins.yaml").write_text(CONFIG.format(images))
    made, context = actions(EXAMPLES / "vins_fusion.launch.py", config=str(tmp_path / "vins.yaml"))
    commands = [[text(word, context) for word in one.named["cmd"]] for one in made if "cmd" in one.named]
    assert commands[-1] == ["ros2", "run", "vins", "vins_node", str(tmp_path / "vins.yaml")]
    blur = [command for command in commands if command[1].endswith("smooth_masked.py")]
    assert len(blur) == (images == "masked")
    assert all(Path(command[1]).is_file() and command[-1] == "__ns:=/camera" for command in blur)


def test_the_segmenter_is_started_beside_the_node(actions: Any) -> None:
    made, context = actions(EXAMPLES / "segmentation.launch.py", void_masked="true", models="/models")
    ((python, script, *arguments),) = (
        [text(word, context) for word in one.named["cmd"]] for one in made if "cmd" in one.named
    )
    assert python == sys.executable and Path(script) == EXAMPLES / "segmentation_node.py"
    assert " ".join(arguments) == (
        "--ros-args -r __ns:=/camera -p model:=segment -p models:=/models -p void_masked:=true"
    )


PROGRAMS = {
    "orb_slam3": [("orbslam3", "stereo")],
    "segmentation": [],
    "rtabmap_stereo": [
        ("image_proc", "rectify_node"),
        ("rtabmap_odom", "stereo_odometry"),
        ("rtabmap_slam", "rtabmap"),
    ],
    "isaac_visual_slam": [("rclcpp_components", "component_container_mt")],
    "vins_fusion": [("ros2cli", "ros2")],
}
ARGUMENTS = {
    "orb_slam3": ["vocabulary:=voc.txt", "settings:=cam.yaml", "images:=masked"],
    "rtabmap_stereo": ["images:=derained"],
    "vins_fusion": ["config:={config}"],
}


@pytest.mark.skipif(not REAL, reason="launch_ros is not installed: there is no wheel of it")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_launch_starts_every_program(path: Path, tmp_path: Path) -> None:
    """launch itself runs the file; each program is a stand-in that writes down how it was called."""
    name = path.name.removesuffix(".launch.py")
    programs = [("derain_ros", "derain_node"), *PROGRAMS[name]]
    prefix, calls = tmp_path / "prefix", tmp_path / "calls"
    calls.mkdir()
    for package, program in programs:
        script = prefix / "lib" / package / program
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(f'#!/bin/sh\necho "$0 $*" > {calls}/{program}.$$\n')
        script.chmod(0o755)
        for folder in ("share/ament_index/resource_index/packages", f"share/{package}"):
            (prefix / folder).mkdir(parents=True, exist_ok=True)
        (prefix / "share/ament_index/resource_index/packages" / package).touch()
    for folder in ("launch", "config"):
        shutil.copytree(ROOT / folder, prefix / "share" / "derain_ros" / folder)
    (tmp_path / "vins.yaml").write_text(CONFIG.format("derained"))
    arguments = [word.format(config=tmp_path / "vins.yaml") for word in ARGUMENTS.get(name, [])]
    # The stand-ins end at once, and launch with them; the examples' nodes are real, and a container is waited for.
    stays = str(name in ("orb_slam3", "isaac_visual_slam", "segmentation"))
    code = (
        "import sys, launch; from launch.launch_description_sources import PythonLaunchDescriptionSource as S\n"
        "from launch.actions import TimerAction, Shutdown, IncludeLaunchDescription as I\n"
        "ends = [TimerAction(period=10.0, actions=[Shutdown()])] if sys.argv[2] == 'True' else []\n"
        "service = launch.LaunchService(); service.include_launch_description(launch.LaunchDescription([\n"
        " I(S(sys.argv[1]), launch_arguments=[word.split(':=') for word in sys.argv[3:]]), *ends]))\n"
        "sys.exit(service.run())"
    )
    environment = os.environ | {
        "AMENT_PREFIX_PATH": str(prefix),
        "ROS_LOG_DIR": str(tmp_path),
        "PATH": f"{prefix}/lib/ros2cli:{os.environ['PATH']}",
    }
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path), stays, *arguments],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            output, _ = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=PATIENCE_S)
    called = "\n".join(file.read_text() for file in calls.iterdir())
    for package, program in programs:
        assert f"{package}/{program} " in called, output
    # What is loaded into a container needs a real one.
    assert process.returncode == 0 or name == "isaac_visual_slam", output
    assert "__ns:=/camera" in called
    if name == "orb_slam3":
        assert "stereo voc.txt cam.yaml true --ros-args -r camera/left:=/camera/masked/left/image_raw" in called
    if name == "rtabmap_stereo":
        assert called.count("rectify_node --ros-args") == 2
        assert "left/image_rect:=/camera/derained/left/image_rect" in called
