"""The node in front of stereo ORB-SLAM3, in the wrapper zang09/ORB_SLAM3_ROS2 (package orbslam3).

    ros2 launch ./orb_slam3.launch.py vocabulary:=ORBvoc.txt settings:=camera.yaml

images:=masked takes the features under the mask out, as the wrapper has no input for a mask.
"""

import sys
from pathlib import Path

from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EqualsSubstitution, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """The node, the blur where it is asked for, and ORB-SLAM3."""
    namespace, images = LaunchConfiguration("namespace"), LaunchConfiguration("images")
    return LaunchDescription(
        [
            DeclareLaunchArgument("namespace", default_value="camera", description="Namespace of the cameras."),
            DeclareLaunchArgument(
                "images",
                default_value="derained",
                choices=["derained", "masked"],
                description="What ORB-SLAM3 is given.",
            ),
            DeclareLaunchArgument("vocabulary", description="Path of ORBvoc.txt."),
            DeclareLaunchArgument("settings", description="Path of the settings of ORB-SLAM3."),
            DeclareLaunchArgument(
                "rectify", default_value="true", description="Rectify by LEFT and RIGHT in settings."
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
                    str(Path(__file__).with_name("smooth_masked.py")),
                    "--ros-args",
                    "-r",
                    ["__ns:=/", namespace],
                ],
                condition=IfCondition(EqualsSubstitution(images, "masked")),
                output="screen",
            ),
            # Its program reads the words before --ros-args by their place.
            Node(
                package="orbslam3",
                executable="stereo",
                output="screen",
                arguments=[
                    LaunchConfiguration("vocabulary"),
                    LaunchConfiguration("settings"),
                    LaunchConfiguration("rectify"),
                ],
                remappings=[
                    ("camera/left", ["/", namespace, "/", images, "/left/image_raw"]),
                    ("camera/right", ["/", namespace, "/", images, "/right/image_raw"]),
                ],
            ),
        ]
    )
