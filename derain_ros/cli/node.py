"""`derain node`: the node in this terminal."""

import typer

CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}


def command(context: typer.Context) -> None:
    """Run the node until Ctrl-C.

    As `ros2 run derain_ros derain_node` does; what follows --ros-args is ROS's. Where no variable chooses how Fast DDS
    sends, the shipped profile is taken: without it large images get lost. `derain doctor` tells what is chosen.

    Examples:

      derain node

      derain node --ros-args -r __ns:=/robot -p budget_ms:=100.0

      derain node --ros-args --params-file derain.yaml
    """
    if context.args and context.args[0] != "--ros-args":
        raise typer.BadParameter(f"{context.args[0]}: not known; what is meant for ROS follows --ros-args")
    from derain_ros.ros.node import main

    raise typer.Exit(main(["derain_node", *context.args]))
