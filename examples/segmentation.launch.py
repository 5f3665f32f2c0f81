"""The node in front of a segmentation node: segnet of ros_deep_learning, on the left camera.

ros2 launch ./segmentation.launch.py
"""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """The node and the segmentation."""
    namespace = LaunchConfiguration("namespace")
    return LaunchDescription(
        [
            DeclareLaunchArgument("namespace", default_value="camera", description="Namespace of the cameras."),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(
                    PathJoinSubstitution([FindPackageShare("derain_ros"), "launch", "derain.launch.py"])
                ),
                launch_arguments={"namespace": namespace}.items(),
            ),
            # The node puts itself into the namespace segnet.
            Node(
                package="ros_deep_learning",
                executable="segnet",
                output="screen",
                parameters=[{"model_name": "fcn-resnet18-mhp-512x320"}],
                remappings=[("/segnet/image_in", ["/", namespace, "/derained/left/image_raw"])],
            ),
        ]
    )
