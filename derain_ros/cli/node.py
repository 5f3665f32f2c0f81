"""`derain node`: the node in this terminal."""

import typer

CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}


def command(context: typer.Context) -> None:
    """Run the node until Ctrl-C.

    Same as `ros2 run derain_ros derain_node`; ROS gets the arguments after --ros-args. If no environment variable
    chooses a transport for Fast DDS, the shipped profile is used: without it, large images get lost. `derain doctor`
    says what is chosen.

    Examples:

      derain node

      derain node --ros-args -r __ns:=/robot -p budget_ms:=100.0

      derain node --ros-args --params-file derain.yaml
    """
    if context.args and context.args[0] != "--ros-args":
        raise typer.BadParameter(f"{context.args[0]}: unknown argument; put arguments for ROS after --ros-args")
    from derain_ros.ros.node import main

    raise typer.Exit(main(["derain_node", *context.args]))
