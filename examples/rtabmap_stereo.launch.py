"""The node in front of RTAB-Map's stereo odometry and mapping (rtabmap_ros); image_proc rectifies in between.

    ros2 launch ./rtabmap_stereo.launch.py frame_id:=base_link

images:=masked takes the features under the mask out, as stereo odometry has no input for a mask.
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
    """The node, the blur where it is asked for, rectification of both eyes, odometry and mapping."""
    namespace, images = LaunchConfiguration("namespace"), LaunchConfiguration("images")

    def topic(camera: str, name: str) -> list:
        return ["/", namespace, "/", images, f"/{camera}/{name}"]

    # Image, rectified image and camera_info of one instant have one stamp, so they are matched exactly.
    parameters = [
        {
            "frame_id": LaunchConfiguration("frame_id"),
            "subscribe_stereo": True,
            "subscribe_odom_info": True,
            "approx_sync": False,
        }
    ]
    inputs = [
        (f"{camera}/{name}", topic(camera, name))
        for camera in ("left", "right")
        for name in ("image_rect", "camera_info")
    ]
    return LaunchDescription(
        [
            DeclareLaunchArgument("namespace", default_value="camera", description="Namespace of the cameras."),
            DeclareLaunchArgument(
                "images",
                default_value="derained",
                choices=["derained", "masked"],
                description="What RTAB-Map is given.",
            ),
            DeclareLaunchArgument(
                "frame_id",
                default_value="base_link",
                description="Frame of the robot; tf leads from it to the left camera.",
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
            # rectify_node finds camera_info beside its image, where the node publishes it.
            *(
                Node(
                    package="image_proc",
                    executable="rectify_node",
                    name=f"rectify_{camera}",
                    output="screen",
                    remappings=[("image", topic(camera, "image_raw")), ("image_rect", topic(camera, "image_rect"))],
                )
                for camera in ("left", "right")
            ),
            Node(
                package="rtabmap_odom",
                executable="stereo_odometry",
                output="screen",
                parameters=parameters,
                remappings=inputs,
            ),
            Node(
                package="rtabmap_slam", executable="rtabmap", output="screen", parameters=parameters, remappings=inputs
            ),
        ]
    )
