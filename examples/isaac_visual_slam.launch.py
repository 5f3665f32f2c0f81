"""The node in front of Isaac ROS Visual SLAM, with the masks of both eyes.

ros2 launch ./isaac_visual_slam.launch.py base_frame:=base_link
"""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import ComposableNodeContainer
from launch_ros.descriptions import ComposableNode
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """The node and, in a container, Visual SLAM."""
    namespace = LaunchConfiguration("namespace")
    remappings = [
        (f"visual_slam/{theirs}_{k}", ["/", namespace, f"/derained/{camera}/{ours}"])
        for k, camera in enumerate(("left", "right"))
        for theirs, ours in (("image", "image_raw"), ("camera_info", "camera_info"), ("seg_mask", "anomaly_mask"))
    ]
    return LaunchDescription(
        [
            DeclareLaunchArgument("namespace", default_value="camera", description="Namespace of the cameras."),
            DeclareLaunchArgument(
                "base_frame",
                default_value="base_link",
                description="Frame of the robot; tf leads from it to both cameras.",
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(
                    PathJoinSubstitution([FindPackageShare("derain_ros"), "launch", "derain.launch.py"])
                ),
                launch_arguments={"namespace": namespace}.items(),
            ),
            ComposableNodeContainer(
                name="visual_slam_container",
                namespace="",
                package="rclcpp_components",
                executable="component_container_mt",
                output="screen",
                composable_node_descriptions=[
                    ComposableNode(
                        name="visual_slam",
                        package="isaac_ros_visual_slam",
                        plugin="nvidia::isaac_ros::visual_slam::VisualSlamNode",
                        # Raw images, distorted as camera_info says: masks and images stay in one geometry.
                        parameters=[
                            {
                                "num_cameras": 2,
                                "num_input_masks": 2,
                                "rectified_images": False,
                                "base_frame": LaunchConfiguration("base_frame"),
                            }
                        ],
                        remappings=remappings,
                    )
                ],
            ),
        ]
    )
