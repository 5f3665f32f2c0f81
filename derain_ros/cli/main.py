"""`derain`: the group of all sub-commands, and what a user sees when one fails."""

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import derain_ros
from derain_ros.cli import (
    bench,
    calibrate,
    demo,
    doctor,
    engine,
    evaluate,
    export,
    fleet,
    frames,
    images,
    models,
    node,
    quantize,
    rain,
    replay,
    report,
    table,
    train,
)
from derain_ros.config import ConfigError

EXTRA_OF_MODULE = {
    "onnxruntime": "cpu",
    "openvino": "cpu",
    "rclpy": "ros",
    "builtin_interfaces": "ros",
    "rcl_interfaces": "ros",
    "sensor_msgs": "ros",
    "std_msgs": "ros",
    "std_srvs": "ros",
    "diagnostic_msgs": "ros",
    "lifecycle_msgs": "ros",
    "rosbags": "replay",
    "matplotlib": "replay",
    "mcap": "replay",
    "lz4": "replay",
    "backports": "replay",
    "zstandard": "replay",
    "distributed": "fleet",
    "torch": "train",
    "onnx": "train",
    "onnxscript": "train",
    "skimage": "evaluate",
    "lightning_fabric": "train",
    "tensorboard": "train",
    "pywt": "evaluate",
    "scipy": "evaluate",
    "evo": "slam",
    "tensorrt": "gpu",
    "cuda": "gpu",
    "pynvml": "gpu",
}


class Commands(TyperGroup):
    """Turns the errors a user can mend into one line on stderr; DERAIN_DEBUG=1 shows their traceback as well."""

    def invoke(self, ctx: Any) -> Any:
        """Run the sub-command: exit code 2 where it was called wrongly, 1 where it failed, 130 after Ctrl-C."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
                stream.reconfigure(errors="surrogateescape")  # names of files need not be text
        try:
            with _ended_in_order():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except Exception as error:
            message = explain(error)
            if message is None or os.environ.get("DERAIN_DEBUG") == "1":
                raise
            typer.secho(f"derain: {message}", fg=typer.colors.RED, err=True)
            raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from None


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM unwinds what is under way, as Ctrl-C does: processes that were started are ended with it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def explain(error: Exception) -> str | None:
    """What to tell the user of `error`; None where it is no mistake of the user's and deserves a traceback."""
    if isinstance(error, ImportError) and (error.name or "").split(".")[0] in EXTRA_OF_MODULE:
        name = str(error.name).split(".")[0]
        lack = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be loaded ({error})"
        return f"{name} {lack}: {how_to_install(EXTRA_OF_MODULE[name])}"
    origin = type(error).__module__.split(".")[0]
    # The package's own errors say what, where and how to mend it.
    if origin == derain_ros.__name__:
        return str(error)
    if origin == "rclpy":
        return f"ROS 2 reports an error: {error}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return None


def how_to_install(extra: str) -> str:
    """The command that brings what the extra of setup.py holds."""
    line = f"pip install '{derain_ros.__name__}[{extra}]'"
    return f"source ROS 2, or on x86-64 Linux without ROS 2: {line}" if extra == "ros" else line


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"derain {derain_ros.__version__}")
        raise typer.Exit


# Plain help: in rich markup, the brackets of `[left, right]` in an example would vanish.
app = typer.Typer(
    cls=Commands, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)


@app.callback()
def derain(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Restores the images of cameras that look through raindrops and dirt.

    Start with `derain doctor`, which says what is installed and how to get what is missing, and with `derain demo`.
    Every command has --help with examples.

    Exit codes: 0 done, 1 failed, 2 called wrongly, 130 interrupted, 143 terminated.
    """


app.command("node", context_settings=node.CONTEXT)(node.command)
app.command("demo")(demo.command)
app.command("replay")(replay.command)
app.command("fleet")(fleet.command)
app.command("report")(report.command)
app.command("images")(images.command)
app.command("frames")(frames.command)
app.command("models")(models.command)
app.command("doctor")(doctor.command)
app.command("export")(export.command)
app.command("quantize")(quantize.command)
app.add_typer(calibrate.app, name="calibrate")
app.add_typer(engine.app, name="engine")
app.add_typer(bench.app, name="bench")
app.add_typer(train.app, name="train")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(table.app, name="table")
app.add_typer(rain.app, name="rain")
