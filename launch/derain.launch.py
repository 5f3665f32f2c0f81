"""Starts the node: `ros2 launch derain_ros derain.launch.py --show-args` names what can be set."""

import os

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""What Fast DDS 2 and Fast DDS 3 read."""
ARGUMENTS = [
    ("namespace", "", "Namespace of the node and of its topics."),
    ("params_file", "", "File with parameters; empty for the defaults."),
    ("cameras", "", "Names of the cameras, as in [left] or left,right; empty for those of the parameters."),
    (
        "inputs",
        "",
        "Topics of the images where they are not <camera>/image_raw, as in "
        "left=/cam0/image_raw,right=/cam1/image_raw; camera_info is beside each image. thermal may be among them.",
    ),
    ("transport", "", "raw or compressed, as the images come; empty for what the parameters say."),
    ("pair_tolerance_ms", "", "Largest difference of stamps within a pair; empty for that of the parameters."),
    ("thermal", "", "true or false: whether there is a thermal camera; empty for what the parameters say."),
    ("engine", "", "Runtime of the networks; empty for that of the parameters."),
    ("autostart", "", "true or false: false leaves the life cycle to a manager; empty for what the parameters say."),
    ("log_level", "info", "debug, info, warn, error or fatal."),
    ("use_sim_time", "", "true or false: whether to take the time from /clock."),
    (
        "lazy",
        "",
        "true or false: false takes the cameras' images though nobody wants the output; empty for what the "
        "parameters say.",
    ),
    (
        "fastdds_profile",
        "default",
        "Profile of Fast DDS: default for the one of the package where no variable of the "
        "environment chooses how images travel, none for that of the environment or none at all, or a path.",
    ),
]


def generate_launch_description() -> LaunchDescription:
    """The node with its arguments."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, default, text in ARGUMENTS
            ),
            OpaqueFunction(function=derain_node),
        ]
    )


def derain_node(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The node as the arguments ask for it."""
    given = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    logger = f"{given['namespace']}/derain".strip("/").replace("/", ".")
    return [
        Node(
            package="derain_ros",
            executable="derain_node",
            name="derain",
            namespace=given["namespace"],
            output="screen",
            parameters=[*filter(None, [given["params_file"]]), parameters(given)],
            remappings=remappings(given["inputs"]),
            arguments=["--ros-args", "--log-level", f"{logger}:={given['log_level']}"],
            additional_env=environment(given["fastdds_profile"]),
        )
    ]


def parameters(given: dict[str, str]) -> dict[str, object]:
    """The parameters that were given as arguments; those left empty are left to the file."""
    truths = ("autostart", "lazy", "use_sim_time", "thermal")
    found: dict[str, object] = {name: truth(name, given[name]) for name in truths if given[name]}
    found |= {name: given[name] for name in ("engine", "transport") if given[name]}
    if given["pair_tolerance_ms"]:
        found["pair_tolerance_ms"] = float(given["pair_tolerance_ms"])
    if given["cameras"]:
        # As the parameter is written, or without its brackets and quotes.
        found["cameras"] = [camera.strip(" '\"") for camera in given["cameras"].strip(" []").split(",")]
    return found


def truth(name: str, word: str) -> bool:
    """The truth of an argument."""
    if word.lower() not in ("true", "false"):
        raise ValueError(f"{name}:={word}: must be true or false")
    return word.lower() == "true"


def remappings(inputs: str) -> list[tuple[str, str]]:
    """The remappings of images, raw and compressed, and of the camera_info beside them."""
    found = []
    for entry in filter(None, inputs.split(",")):
        camera, equals, topic = (word.strip() for word in entry.partition("="))
        if not (camera and equals and topic):
            raise ValueError(f"inputs:={inputs}: {entry!r} is not of the form camera=topic")
        info = topic[: topic.rfind("/") + 1] + "camera_info"
        found += [
            (f"{camera}/image_raw", topic),
            (f"{camera}/image_raw/compressed", f"{topic}/compressed"),
            (f"{camera}/camera_info", info),
        ]
    return found


def environment(profile: str) -> dict[str, str]:
    """The variables that tell the node which profile to take; the one of the package it takes by itself."""
    if profile == "default":
        return {}
    if profile == "none":
        # An empty name keeps the node from that.
        return {} if os.environ.get(VARIABLES[0]) else {VARIABLES[0]: ""}
    if not os.path.isfile(profile):
        raise ValueError(f"fastdds_profile:={profile}: there is no such file")
    return dict.fromkeys(VARIABLES, profile)
