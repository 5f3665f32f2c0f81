"""The node in front of VINS-Fusion, in the port zinuok/VINS-Fusion-ROS2 (package vins).

    ros2 launch ./vins_fusion.launch.py config:=/path/to/stereo_imu_config.yaml

vins_node takes one argument and no remaps, so its topics are those of the config file: image0_topic and image1_topic
must name what the node publishes, or masked in place of derained for images without features under the mask.
"""

import re
import sys
from pathlib import Path

from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity


def generate_launch_description() -> LaunchDescription:
    """The node and VINS-Fusion."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("namespace", default_value="camera", description="Namespace of the cameras."),
            DeclareLaunchArgument("config", description="Path of the config file of VINS-Fusion."),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(
                    PathJoinSubstitution([FindPackageShare("derain_ros"), "launch", "derain.launch.py"])
                ),
                launch_arguments={"namespace": LaunchConfiguration("namespace")}.items(),
            ),
            OpaqueFunction(function=vins),
        ]
    )


def vins(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """VINS-Fusion, and the blur where the config file asks for its images; ValueError where it asks for neither."""
    namespace = LaunchConfiguration("namespace").perform(context)
    config = LaunchConfiguration("config").perform(context)
    named = re.findall(r'^image[01]_topic:\s*"?([^"\s]+)', Path(config).read_text(encoding="utf-8"), re.M)
    for images in ("derained", "masked"):
        if named == [f"/{namespace}/{images}/{camera}/image_raw" for camera in ("left", "right")]:
            break
    else:
        raise ValueError(
            f"{config}: image0_topic and image1_topic are {named}; "
            f"must be /{namespace}/derained/left/image_raw and /{namespace}/derained/right/image_raw"
        )
    blur = ExecuteProcess(
        cmd=[
            sys.executable,
            str(Path(__file__).with_name("smooth_masked.py")),
            "--ros-args",
            "-r",
            f"__ns:=/{namespace}",
        ],
        output="screen",
    )
    return [
        *([blur] if images == "masked" else []),
        ExecuteProcess(cmd=["ros2", "run", "vins", "vins_node", config], output="screen"),
    ]
