"""The node in front of a segmenter: segmentation_node.py on the left camera.

ros2 launch ./segmentation.launch.py
"""

import sys
from pathlib import Path

from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """The node and the segmentation."""
    namespace = LaunchConfiguration("namespace")
    return LaunchDescription(
        [
            DeclareLaunchArgument("namespace", default_value="camera", description="Namespace of the cameras."),
            DeclareLaunchArgument("model", default_value="segment", description="Segmenter of the manifest."),
            DeclareLaunchArgument(
                "models", default_value="''", description="Directory with models.yaml; '' for the shipped one."
            ),
            DeclareLaunchArgument(
                "void_masked", default_value="false", description="true: labels under the mask become 255."
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(
                    PathJoinSubstitution([FindPackageShare("derain_ros"), "launch", "derain.launch.py"])
                ),
                launch_arguments={"namespace": namespace}.items(),
            ),
            ExecuteProcess(
                cmd=[
                    sys.executable,
                    str(Path(__file__).with_name("segmentation_node.py")),
                    "--ros-args",
                    "-r",
                    ["__ns:=/", namespace],
                    *(
                        word
                        for name in ("model", "models", "void_masked")
                        for word in ("-p", [f"{name}:=", LaunchConfiguration(name)])
                    ),
                ],
                output="screen",
            ),
        ]
    )
